package spoolway;

import java.io.IOException;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.GeneralSecurityException;
import java.security.MessageDigest;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.HexFormat;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import java.util.stream.Collectors;
import javax.crypto.Mac;
import javax.crypto.spec.SecretKeySpec;

/**
 * Who may log in with AWS keys, and whether a request is signed by one of them: signature
 * version 4 computed anew, sharing no code with the program under test. Knows no SASL.
 */
final class AwsAccounts {
    private static final String SERVICE = "kafka-cluster";
    private static final Duration TOLERANCE = Duration.ofMinutes(15);
    private static final DateTimeFormatter TIME =
            DateTimeFormatter.ofPattern("yyyyMMdd'T'HHmmss'Z'").withZone(ZoneOffset.UTC);

    private record Account(String id, String secret, String session) {}

    private final List<Account> accounts;
    final String region;

    /** Each line of the file is an access key id, its secret, and a session token or "-". */
    AwsAccounts(Path file, String region) throws IOException {
        this.region = region;
        accounts = Files.readAllLines(file).stream()
                .map(line -> line.split(" "))
                .map(parts -> new Account(parts[0], parts[1], parts[2]))
                .toList();
    }

    /** The access key id that signed this request; a {@link Denied} says why there is none. */
    String signer(String host, Map<String, String> request) throws Denied {
        TreeMap<String, String> query = new TreeMap<>(request);
        String given = take(query, "X-Amz-Signature");
        expect(query, "Action", SERVICE + ":Connect");
        expect(query, "X-Amz-Algorithm", "AWS4-HMAC-SHA256");
        expect(query, "X-Amz-SignedHeaders", "host");
        String date = query.getOrDefault("X-Amz-Date", "");
        Duration age = Duration.between(Instant.from(TIME.parse(date)), Instant.now());
        if (age.abs().compareTo(TOLERANCE) > 0) {
            throw new Denied("signed at " + date);
        }
        String scope = String.join("/", date.substring(0, 8), region, SERVICE, "aws4_request");
        String canonical = query.entrySet().stream()
                .map(pair -> encoded(pair.getKey()) + "=" + encoded(pair.getValue()))
                .collect(Collectors.joining("&"));
        String text = String.join("\n", "GET", "/", canonical, "host:" + host, "", "host", hash(""));
        String toSign = String.join("\n", "AWS4-HMAC-SHA256", date, scope, hash(text));
        for (Account account : accounts) {
            String session = query.getOrDefault("X-Amz-Security-Token", "-");
            boolean named = query.getOrDefault("X-Amz-Credential", "")
                    .equals(account.id + "/" + scope);
            if (named && session.equals(account.session)
                    && signature(account.secret, scope, toSign).equals(given)) {
                return account.id;
            }
        }
        throw new Denied("no account has signed this");
    }

    /** A request that is not let in. */
    static final class Denied extends Exception {
        private static final long serialVersionUID = 1;

        Denied(String why) {
            super("Access denied: " + why);
        }
    }

    private static String take(Map<String, String> query, String name) throws Denied {
        String value = query.remove(name);
        if (value == null) {
            throw new Denied("no " + name);
        }
        return value;
    }

    private static void expect(Map<String, String> query, String name, String wanted)
            throws Denied {
        if (!wanted.equals(query.get(name))) {
            throw new Denied(name + " is " + query.get(name));
        }
    }

    private static String signature(String secret, String scope, String text) {
        byte[] key = ("AWS4" + secret).getBytes(StandardCharsets.UTF_8);
        for (String part : scope.split("/")) {
            key = mac(key, part);
        }
        return HexFormat.of().formatHex(mac(key, text));
    }

    private static byte[] mac(byte[] key, String text) {
        try {
            Mac mac = Mac.getInstance("HmacSHA256");
            mac.init(new SecretKeySpec(key, "HmacSHA256"));
            return mac.doFinal(text.getBytes(StandardCharsets.UTF_8));
        } catch (GeneralSecurityException error) {
            throw new IllegalStateException(error);
        }
    }

    private static String hash(String text) {
        try {
            MessageDigest digest = MessageDigest.getInstance("SHA-256");
            return HexFormat.of().formatHex(digest.digest(text.getBytes(StandardCharsets.UTF_8)));
        } catch (GeneralSecurityException error) {
            throw new IllegalStateException(error);
        }
    }

    private static String encoded(String text) {
        StringBuilder out = new StringBuilder();
        for (byte one : text.getBytes(StandardCharsets.UTF_8)) {
            char character = (char) (one & 0xff);
            boolean plain = character < 128
                    && (Character.isLetterOrDigit(character) || "-._~".indexOf(character) >= 0);
            out.append(plain ? String.valueOf(character) : "%%%02X".formatted((int) character));
        }
        return out.toString();
    }
}
