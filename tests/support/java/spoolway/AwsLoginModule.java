package spoolway;

import java.security.Provider;
import java.security.Security;
import java.util.Map;
import javax.security.auth.Subject;
import javax.security.auth.callback.CallbackHandler;
import javax.security.auth.spi.LoginModule;

/**
 * The entry in sasl.jaas.config of both mechanisms. Logs nobody in, the broker itself needs no
 * login; loading it makes AWS_MSK_IAM known to Java. OAUTHBEARER becomes known by Kafka's own
 * module, which another listener names; that module takes no options but its own.
 */
public final class AwsLoginModule implements LoginModule {
    static {
        Security.addProvider(new Mechanism());
    }

    private static final class Mechanism extends Provider {
        private static final long serialVersionUID = 1;

        Mechanism() {
            super("spoolway-aws", "1", "AWS_MSK_IAM for tests");
            put("SaslServerFactory." + AwsSaslServer.MECHANISM, AwsSaslServer.Factory.class.getName());
        }
    }

    @Override
    public void initialize(
            Subject subject, CallbackHandler handler, Map<String, ?> shared, Map<String, ?> options) {}

    @Override
    public boolean login() {
        return true;
    }

    @Override
    public boolean commit() {
        return true;
    }

    @Override
    public boolean abort() {
        return false;
    }

    @Override
    public boolean logout() {
        return true;
    }
}
