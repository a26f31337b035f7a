import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.InputStreamReader;
import java.lang.management.ManagementFactory;
import java.nio.charset.StandardCharsets;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.Base64;
import javax.xml.parsers.DocumentBuilderFactory;
import net.shibboleth.utilities.java.support.xml.SerializeSupport;
import org.apache.wss4j.common.saml.OpenSAMLUtil;
import org.opensaml.core.xml.config.XMLObjectProviderRegistrySupport;
import org.opensaml.saml.common.SignableSAMLObject;
import org.opensaml.security.x509.BasicX509Credential;
import org.opensaml.xmlsec.keyinfo.impl.X509KeyInfoGeneratorFactory;
import org.opensaml.xmlsec.signature.Signature;
import org.opensaml.xmlsec.signature.support.SignatureConstants;
import org.opensaml.xmlsec.signature.support.Signer;
import org.w3c.dom.Element;

/**
 * Signs one assertion again and again with OpenSAML. On standard input: key (PKCS#8), certificate and assertion, each a line of Base64;
 * then a line of seconds for each round. On standard output, for each round: how many, seconds of the processor, seconds; and at the end of input the
 * last vector, in Base64.
 */
public final class VectorMaker {
    public static void main(String[] arguments) throws Exception {
        OpenSAMLUtil.initSamlEngine();
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.US_ASCII));
        PrivateKey key = KeyFactory.getInstance("RSA").generatePrivate(new PKCS8EncodedKeySpec(octets(input)));
        X509Certificate certificate = (X509Certificate) CertificateFactory.getInstance("X.509")
            .generateCertificate(new ByteArrayInputStream(octets(input)));
        byte[] assertion = octets(input);
        BasicX509Credential credential = new BasicX509Credential(certificate, key);
        String last = sign(assertion, credential);
        System.out.println("ready");
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            double seconds = Double.parseDouble(line);
            long processor = processor();
            long begun = System.nanoTime();
            long made = 0;
            while ((System.nanoTime() - begun) / 1e9 < seconds) {
                last = sign(assertion, credential);
                made++;
            }
            System.out.println(made + " " + (processor() - processor) / 1e9 + " " + (System.nanoTime() - begun) / 1e9);
        }
        System.out.println(Base64.getEncoder().encodeToString(last.getBytes(StandardCharsets.UTF_8)));
    }

    private static byte[] octets(BufferedReader input) throws Exception {
        return Base64.getDecoder().decode(input.readLine());
    }

    private static long processor() {
        return ((com.sun.management.OperatingSystemMXBean) ManagementFactory.getOperatingSystemMXBean()).getProcessCpuTime();
    }

    private static String sign(byte[] octets, BasicX509Credential credential) throws Exception {
        DocumentBuilderFactory factory = DocumentBuilderFactory.newInstance();
        factory.setNamespaceAware(true);
        Element root = factory.newDocumentBuilder().parse(new ByteArrayInputStream(octets)).getDocumentElement();
        SignableSAMLObject assertion = (SignableSAMLObject) XMLObjectProviderRegistrySupport.getUnmarshallerFactory()
            .getUnmarshaller(root).unmarshall(root);
        assertion.releaseDOM();
        assertion.releaseChildrenDOM(true);
        X509KeyInfoGeneratorFactory keyInfo = new X509KeyInfoGeneratorFactory();
        keyInfo.setEmitEntityCertificate(true);
        Signature signature = (Signature) XMLObjectProviderRegistrySupport.getBuilderFactory()
            .getBuilder(Signature.DEFAULT_ELEMENT_NAME).buildObject(Signature.DEFAULT_ELEMENT_NAME);
        signature.setSigningCredential(credential);
        signature.setSignatureAlgorithm(SignatureConstants.ALGO_ID_SIGNATURE_RSA_SHA256);
        signature.setCanonicalizationAlgorithm(SignatureConstants.ALGO_ID_C14N_EXCL_OMIT_COMMENTS);
        signature.setKeyInfo(keyInfo.newInstance().generate(credential));
        assertion.setSignature(signature);
        Element written = XMLObjectProviderRegistrySupport.getMarshallerFactory().getMarshaller(assertion).marshall(assertion);
        Signer.signObject(signature);
        return SerializeSupport.nodeToString(written);
    }
}
