import jakarta.xml.ws.BindingProvider;
import jakarta.xml.ws.WebServiceException;
import jakarta.xml.ws.handler.MessageContext;
import jakarta.xml.ws.soap.SOAPBinding;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import org.apache.cxf.binding.soap.SoapFault;
import org.apache.cxf.jaxws.JaxWsProxyFactoryBean;

/**
 * The client's application. Each line of its input is a job, words separated by tabs: `URL 11|12 [--header NAME=VALUE]... OPERATION ARGUMENT
 * [OPERATION ARGUMENT]...` calls each operation on one connection and prints `answer TEXT`, `fault {NAMESPACE}CODE TEXT` or `error TEXT` for
 * it, then `done`. `deposer` takes a number of octets.
 */
public final class Client {
    public static void main(String[] arguments) throws Exception {
        BufferedReader jobs = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String job = jobs.readLine(); job != null; job = jobs.readLine()) {
            work(job.split("\t"));
            System.out.println("done");
        }
        System.exit(0);
    }

    private static void work(String[] words) {
        List<String> rest = new ArrayList<>(List.of(words).subList(2, words.length));
        Map<String, List<String>> headers = new HashMap<>();
        while (!rest.isEmpty() && rest.get(0).equals("--header")) {
            String[] field = rest.get(1).split("=", 2);
            headers.computeIfAbsent(field[0], name -> new ArrayList<>()).add(field[1]);
            rest.subList(0, 2).clear();
        }
        Droits droits = connect(words[0], words[1].equals("12"), headers);
        for (int at = 0; at + 1 < rest.size(); at += 2) {
            System.out.println(call(droits, rest.get(at), rest.get(at + 1)).replace('\n', ' '));
        }
    }

    private static Droits connect(String url, boolean isSoap12, Map<String, List<String>> headers) {
        JaxWsProxyFactoryBean factory = new JaxWsProxyFactoryBean();
        factory.setServiceClass(Droits.class);
        factory.setAddress(url);
        factory.setBindingId(isSoap12 ? SOAPBinding.SOAP12HTTP_BINDING : SOAPBinding.SOAP11HTTP_BINDING);
        factory.setProperties(new HashMap<>(Map.of("mtom-enabled", true)));
        Droits droits = (Droits) factory.create();
        ((BindingProvider) droits).getRequestContext().put(MessageContext.HTTP_REQUEST_HEADERS, headers);
        return droits;
    }

    private static String call(Droits droits, String operation, String argument) {
        try {
            switch (operation) {
                case "consulter":
                    return "answer " + droits.consulter(argument);
                case "deposer":
                    return deposit(droits, Integer.parseInt(argument));
                case "echouer":
                    return "answer " + droits.echouer(argument);
                default:
                    return "error no operation " + operation;
            }
        } catch (WebServiceException failure) {
            if (failure.getCause() instanceof SoapFault fault) {
                return "fault " + fault.getFaultCode() + " " + fault.getMessage();
            }
            return "error " + failure.getCause();
        }
    }

    private static String deposit(Droits droits, int octets) {
        byte[] piece = new byte[octets];
        for (int at = 0; at < octets; at++) {
            piece[at] = (byte) (at * 31);
        }
        return Arrays.equals(piece, droits.deposer(piece)) ? "answer same" : "answer changed";
    }
}
