import java.io.ByteArrayInputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import java.util.List;
import java.util.StringJoiner;
import javax.xml.parsers.DocumentBuilderFactory;
import org.apache.wss4j.common.crypto.Merlin;
import org.apache.wss4j.dom.WSConstants;
import org.apache.wss4j.dom.WSDataRef;
import org.apache.wss4j.dom.engine.WSSConfig;
import org.apache.wss4j.dom.engine.WSSecurityEngine;
import org.apache.wss4j.dom.engine.WSSecurityEngineResult;
import org.apache.wss4j.dom.handler.RequestData;
import org.apache.wss4j.dom.handler.WSHandlerResult;

/**
 * Judges SOAP messages with WSS4J, which enforces the Basic Security Profile: MessageJudge ROOT FILE..., where ROOT is the one
 * certificate (DER) that is trusted. One line per file: `accepted`, then the local name of each element that a message
 * signature covers and `vector` for a signed assertion; or `refused` and why.
 */
public final class MessageJudge {
    public static void main(String[] arguments) throws Exception {
        WSSConfig.init();
        KeyStore trusted = KeyStore.getInstance("PKCS12");
        trusted.load(null, null);
        byte[] root = Files.readAllBytes(Path.of(arguments[0]));
        trusted.setCertificateEntry(
            "root", CertificateFactory.getInstance("X.509").generateCertificate(new ByteArrayInputStream(root)));
        Merlin crypto = new Merlin();
        crypto.setTrustStore(trusted);
        for (String file : List.of(arguments).subList(1, arguments.length)) {
            System.out.println(judge(Path.of(file), crypto));
        }
    }

    private static String judge(Path file, Merlin crypto) throws Exception {
        DocumentBuilderFactory factory = DocumentBuilderFactory.newInstance();
        factory.setNamespaceAware(true);
        RequestData data = new RequestData();
        data.setSigVerCrypto(crypto);
        data.setWssConfig(WSSConfig.getNewInstance());
        try {
            WSHandlerResult result = new WSSecurityEngine()
                .processSecurityHeader(factory.newDocumentBuilder().parse(file.toFile()), data);
            return "accepted" + covered(result);
        } catch (org.apache.wss4j.common.ext.WSSecurityException refusal) {
            return "refused " + refusal.getMessage().replace('\n', ' ');
        }
    }

    @SuppressWarnings("unchecked")
    private static String covered(WSHandlerResult result) {
        StringJoiner names = new StringJoiner(" ", " ", "");
        for (WSSecurityEngineResult one : result.getResults()) {
            int action = (Integer) one.get(WSSecurityEngineResult.TAG_ACTION);
            if (action == WSConstants.ST_SIGNED) {
                names.add("vector");
            }
            Object references = one.get(WSSecurityEngineResult.TAG_DATA_REF_URIS);
            if (action == WSConstants.SIGN && references != null) {
                ((List<WSDataRef>) references).forEach(covers -> names.add(covers.getName().getLocalPart()));
            }
        }
        return names.toString();
    }
}
