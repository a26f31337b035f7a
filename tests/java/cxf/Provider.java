import jakarta.annotation.Resource;
import jakarta.jws.WebService;
import jakarta.xml.ws.BindingType;
import jakarta.xml.ws.Endpoint;
import jakarta.xml.ws.WebServiceContext;
import jakarta.xml.ws.handler.MessageContext;
import jakarta.xml.ws.soap.SOAPBinding;
import java.util.List;
import java.util.Map;
import java.util.TreeMap;
import org.apache.cxf.jaxws.EndpointImpl;

/**
 * The provider's application: `Provider PORT` serves SOAP 1.1 at /app/droits and SOAP 1.2 at /app/droits12, on loopback, until its input ends.
 * What `consulter` answers holds the identity headers of its request, so that a caller sees what the application was told.
 */
public final class Provider {
    public static void main(String[] arguments) throws Exception {
        String root = "http://127.0.0.1:" + arguments[0];
        publish(root + "/app/droits", new Soap11());
        publish(root + "/app/droits12", new Soap12());
        System.out.println("ready");
        while (System.in.read() >= 0) {
            // until whoever started us closes the pipe
        }
        System.exit(0);
    }

    private static void publish(String address, Object implementor) {
        EndpointImpl endpoint = (EndpointImpl) Endpoint.create(implementor);
        endpoint.publish(address);
        ((SOAPBinding) endpoint.getBinding()).setMTOMEnabled(true);
    }

    private abstract static class Service implements Droits {
        @Resource
        private WebServiceContext context;

        @Override
        public String consulter(String nir) {
            return "AMO 2026 pour " + nir + " " + identity();
        }

        @Override
        public byte[] deposer(byte[] piece) {
            return piece;
        }

        @Override
        public String echouer(String raison) {
            throw new IllegalStateException(raison);
        }

        @SuppressWarnings("unchecked")
        private Map<String, List<String>> identity() {
            Map<String, List<String>> all = (Map<String, List<String>>) context.getMessageContext()
                .get(MessageContext.HTTP_REQUEST_HEADERS);
            Map<String, List<String>> kept = new TreeMap<>();
            all.forEach((name, values) -> {
                if (name != null && name.toLowerCase().startsWith("x-interops")) {
                    kept.put(name.toLowerCase(), values);
                }
            });
            return kept;
        }
    }

    /** Over SOAP 1.1. */
    @WebService(endpointInterface = "Droits", targetNamespace = "http://service.demo.example/droits/v2", serviceName = "DroitsService")
    public static final class Soap11 extends Service { }

    /** Over SOAP 1.2. */
    @WebService(endpointInterface = "Droits", targetNamespace = "http://service.demo.example/droits/v2", serviceName = "DroitsService")
    @BindingType(SOAPBinding.SOAP12HTTP_BINDING)
    public static final class Soap12 extends Service { }
}
