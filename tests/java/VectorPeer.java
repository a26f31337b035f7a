import java.io.InputStream;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyFactory;
import java.security.PrivateKey;
import java.security.cert.CertificateFactory;
import java.security.cert.X509Certificate;
import java.security.spec.PKCS8EncodedKeySpec;
import java.util.ArrayList;
import java.util.List;
import javax.xml.parsers.DocumentBuilderFactory;
import net.shibboleth.utilities.java.support.xml.SerializeSupport;
import org.apache.wss4j.common.saml.OpenSAMLUtil;
import org.opensaml.core.xml.config.XMLObjectProviderRegistrySupport;
import org.opensaml.saml.common.SignableSAMLObject;
import org.opensaml.saml.security.impl.SAMLSignatureProfileValidator;
import org.opensaml.security.x509.BasicX509Credential;
import org.opensaml.xmlsec.keyinfo.impl.X509KeyInfoGeneratorFactory;
import org.opensaml.xmlsec.signature.Signature;
import org.opensaml.xmlsec.signature.support.SignatureConstants;
import org.opensaml.xmlsec.signature.support.SignatureException;
import org.opensaml.xmlsec.signature.support.SignatureValidator;
import org.opensaml.xmlsec.signature.support.Signer;
import org.w3c.dom.Element;

/**
 * A partner built on OpenSAML. `judge SIGNER FILE...` says of each assertion `accepted` or `refused` and why, by the signature
 * profile of SAML and the key of the certificate SIGNER (DER); `sign KEY CHAIN FILE...` signs each assertion in its place, with
 * KEY (PKCS#8, DER, RSA) and CHAIN (PEM, leaf first).
 */
public final class VectorPeer {
    public static void main(String[] arguments) throws Exception {
        OpenSAMLUtil.initSamlEngine(); // without the parts that would want an HTTP client
        List<String> rest = List.of(arguments);
        if (arguments[0].equals("judge")) {
            X509Certificate signer = certificates(Path.of(arguments[1])).get(0);
            for (String file : rest.subList(2, rest.size())) {
                System.out.println(judge(Path.of(file), signer));
            }
        } else {
            byte[] encoded = Files.readAllBytes(Path.of(arguments[1]));
            PrivateKey key = KeyFactory.getInstance("RSA").generatePrivate(new PKCS8EncodedKeySpec(encoded));
            List<X509Certificate> chain = certificates(Path.of(arguments[2]));
            for (String file : rest.subList(3, rest.size())) {
                sign(Path.of(file), key, chain);
            }
        }
    }

    private static String judge(Path file, X509Certificate signer) throws Exception {
        SignableSAMLObject assertion = read(file);
        try {
            new SAMLSignatureProfileValidator().validate(assertion.getSignature());
            SignatureValidator.validate(assertion.getSignature(), new BasicX509Credential(signer));
            return "accepted";
        } catch (SignatureException refusal) {
            return "refused " + refusal.getMessage().replace('\n', ' ');
        }
    }

    private static void sign(Path file, PrivateKey key, List<X509Certificate> chain) throws Exception {
        SignableSAMLObject assertion = read(file);
        assertion.releaseDOM();
        assertion.releaseChildrenDOM(true);
        BasicX509Credential credential = new BasicX509Credential(chain.get(0), key);
        credential.setEntityCertificateChain(chain);
        X509KeyInfoGeneratorFactory keyInfo = new X509KeyInfoGeneratorFactory();
        keyInfo.setEmitEntityCertificateChain(true);
        Signature signature = (Signature) XMLObjectProviderRegistrySupport.getBuilderFactory()
            .getBuilder(Signature.DEFAULT_ELEMENT_NAME).buildObject(Signature.DEFAULT_ELEMENT_NAME);
        signature.setSigningCredential(credential);
        signature.setSignatureAlgorithm(SignatureConstants.ALGO_ID_SIGNATURE_RSA_SHA256);
        signature.setCanonicalizationAlgorithm(SignatureConstants.ALGO_ID_C14N_EXCL_OMIT_COMMENTS);
        signature.setKeyInfo(keyInfo.newInstance().generate(credential));
        assertion.setSignature(signature);
        Element written = XMLObjectProviderRegistrySupport.getMarshallerFactory()
            .getMarshaller(assertion).marshall(assertion);
        Signer.signObject(signature);
        Files.writeString(file, SerializeSupport.nodeToString(written));
    }

    private static SignableSAMLObject read(Path file) throws Exception {
        DocumentBuilderFactory factory = DocumentBuilderFactory.newInstance();
        factory.setNamespaceAware(true);
        Element root = factory.newDocumentBuilder().parse(file.toFile()).getDocumentElement();
        return (SignableSAMLObject) XMLObjectProviderRegistrySupport.getUnmarshallerFactory()
            .getUnmarshaller(root).unmarshall(root);
    }

    private static List<X509Certificate> certificates(Path file) throws Exception {
        List<X509Certificate> found = new ArrayList<>();
        try (InputStream octets = Files.newInputStream(file)) {
            CertificateFactory.getInstance("X.509").generateCertificates(octets)
                .forEach(each -> found.add((X509Certificate) each));
        }
        return found;
    }
}
