package spoolway;

import com.fasterxml.jackson.databind.ObjectMapper;
import java.io.IOException;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.nio.file.Path;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.UnsupportedCallbackException;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallback;

/**
 * What Amazon MSK does with the two messages that AWS keys can log in by: the token of
 * OAUTHBEARER, which is a signed address, and the JSON of AWS_MSK_IAM. Its settings are
 * options of the mechanism's entry in sasl.jaas.config: accounts, region, host.
 */
public final class AwsCallbackHandler implements AuthenticateCallbackHandler {
    private AwsAccounts accounts;
    private String host;

    @Override
    public void configure(
            Map<String, ?> configs, String mechanism, List<AppConfigurationEntry> entries) {
        Map<String, ?> options = entries.get(0).getOptions();
        host = (String) options.get("host");
        try {
            Path file = Path.of((String) options.get("accounts"));
            accounts = new AwsAccounts(file, (String) options.get("region"));
        } catch (IOException error) {
            throw new IllegalStateException(error);
        }
    }

    @Override
    public void handle(Callback[] callbacks) throws UnsupportedCallbackException {
        for (Callback callback : callbacks) {
            if (!(callback instanceof OAuthBearerValidatorCallback asked)) {
                continue; // extensions are not looked at
            }
            try {
                asked.token(new Token(asked.tokenValue(), ofToken(asked.tokenValue())));
            } catch (AwsAccounts.Denied | IllegalArgumentException denied) {
                asked.error("invalid_token: " + denied.getMessage(), null, null);
            }
        }
    }

    /** Who signed the address that the token is. */
    private String ofToken(String token) throws AwsAccounts.Denied {
        byte[] address = Base64.getUrlDecoder().decode(token);
        String signedHost = "kafka." + accounts.region + ".amazonaws.com";
        String start = "https://" + signedHost + "/?";
        String text = new String(address, StandardCharsets.UTF_8);
        if (!text.startsWith(start)) {
            throw new AwsAccounts.Denied("another address");
        }
        Map<String, String> query = new HashMap<>();
        for (String pair : text.substring(start.length()).split("&")) {
            String[] parts = pair.split("=", 2);
            query.put(parts[0], URLDecoder.decode(parts[1], StandardCharsets.UTF_8));
        }
        query.remove("User-Agent"); // comes behind the signature
        return accounts.signer(signedHost, query);
    }

    /** Who signed the JSON of AWS_MSK_IAM. */
    String ofPayload(byte[] message) throws AwsAccounts.Denied {
        Map<String, String> query = new HashMap<>();
        try {
            Map<?, ?> fields = new ObjectMapper().readValue(message, Map.class);
            fields.forEach((name, value) -> query.put(parameter((String) name), (String) value));
        } catch (IOException | ClassCastException error) {
            throw new AwsAccounts.Denied("no JSON of strings");
        }
        if (!"2020_10_22".equals(query.remove("version"))) {
            throw new AwsAccounts.Denied("another version");
        }
        if (!host.equals(query.remove("host"))) {
            throw new AwsAccounts.Denied("signed for another host");
        }
        query.remove("user-agent");
        return accounts.signer(host, query);
    }

    /** The name in the signed address of a field: X-Amz-Date of x-amz-date. */
    private static String parameter(String field) {
        return switch (field) {
            case "action" -> "Action";
            case "x-amz-signedheaders" -> "X-Amz-SignedHeaders";
            default -> {
                if (!field.startsWith("x-amz-")) {
                    yield field;
                }
                StringBuilder name = new StringBuilder();
                for (String part : field.split("-")) {
                    name.append(name.isEmpty() ? "" : "-");
                    name.append(Character.toUpperCase(part.charAt(0))).append(part.substring(1));
                }
                yield name.toString();
            }
        };
    }

    @Override
    public void close() {}

    private record Token(String value, String principalName) implements OAuthBearerToken {
        @Override
        public Set<String> scope() {
            return Set.of();
        }

        @Override
        public long lifetimeMs() {
            return System.currentTimeMillis() + 3_600_000;
        }

        @Override
        public Long startTimeMs() {
            return null;
        }
    }
}
