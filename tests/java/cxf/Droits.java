import jakarta.jws.WebMethod;
import jakarta.jws.WebParam;
import jakarta.jws.WebResult;
import jakarta.jws.WebService;

/** A business service that knows nothing of InterOPS. */
@WebService(name = "Droits", targetNamespace = "http://service.demo.example/droits/v2")
public interface Droits {
    /** Says what the person with that number is entitled to, and who the container says is asking. */
    @WebMethod(action = "http://service.demo.example/droits/consulter")
    @WebResult(name = "droits")
    String consulter(@WebParam(name = "nir") String nir);

    /** Answers with the octets it was given: an attachment where MTOM is on. */
    @WebMethod(action = "http://service.demo.example/droits/deposer")
    @WebResult(name = "piece")
    byte[] deposer(@WebParam(name = "piece") byte[] piece);

    /** Fails as an application fails, with a SOAP fault of its own. */
    @WebMethod(action = "http://service.demo.example/droits/echouer")
    @WebResult(name = "rien")
    String echouer(@WebParam(name = "raison") String raison);
}
