package spoolway;

import java.nio.charset.StandardCharsets;
import java.util.Map;
import javax.security.auth.callback.CallbackHandler;
import javax.security.sasl.SaslServer;
import javax.security.sasl.SaslServerFactory;
import org.apache.kafka.common.errors.SaslAuthenticationException;

/** AWS_MSK_IAM: one message of the client, one answer. */
public final class AwsSaslServer implements SaslServer {
    static final String MECHANISM = "AWS_MSK_IAM";

    private final AwsCallbackHandler handler;
    private String principal;

    private AwsSaslServer(AwsCallbackHandler handler) {
        this.handler = handler;
    }

    @Override
    public byte[] evaluateResponse(byte[] response) {
        try {
            principal = handler.ofPayload(response);
        } catch (AwsAccounts.Denied denied) {
            throw new SaslAuthenticationException(denied.getMessage());
        }
        String answer = "{\"version\":\"2020_10_22\",\"request-id\":\"test\"}";
        return answer.getBytes(StandardCharsets.UTF_8);
    }

    @Override
    public String getMechanismName() {
        return MECHANISM;
    }

    @Override
    public boolean isComplete() {
        return principal != null;
    }

    @Override
    public String getAuthorizationID() {
        return principal;
    }

    @Override
    public Object getNegotiatedProperty(String name) {
        return null;
    }

    @Override
    public byte[] unwrap(byte[] incoming, int offset, int length) {
        throw new IllegalStateException("there is no integrity layer");
    }

    @Override
    public byte[] wrap(byte[] outgoing, int offset, int length) {
        throw new IllegalStateException("there is no integrity layer");
    }

    @Override
    public void dispose() {}

    /** Made by its name in the provider of {@link AwsLoginModule}. */
    public static final class Factory implements SaslServerFactory {
        @Override
        public SaslServer createSaslServer(
                String mechanism,
                String protocol,
                String serverName,
                Map<String, ?> properties,
                CallbackHandler handler) {
            return new AwsSaslServer((AwsCallbackHandler) handler);
        }

        @Override
        public String[] getMechanismNames(Map<String, ?> properties) {
            return new String[] {MECHANISM};
        }
    }
}
