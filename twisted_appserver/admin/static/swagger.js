import { authorization } from "./requests.js";
import { start } from "./shell.js";

await start("Swagger UI");
const [scheme, secret] = authorization().split(" ");
const main = document.getElementById("main");
main.id = "functions";

// Calls have what Authorize contains. Only the document is loaded before anything could be entered there.
const ui = SwaggerUIBundle({
  url: "openapi.json", dom_id: "#functions", deepLinking: true, validatorUrl: null,
  requestInterceptor: sent => {
    if (secret && sent.loadSpec) sent.headers.Authorization = authorization();
    if (secret) sent.credentials = "omit";
    return sent;
  },
  onComplete: () => {
    if (scheme === "Bearer") ui.preauthorizeApiKey("bearer", secret);
    if (scheme === "Basic") {
      const [, name, password] = /^(.*?):(.*)$/s.exec(new TextDecoder().decode(Uint8Array.from(atob(secret), each => each.charCodeAt(0))));
      ui.preauthorizeBasic("basic", name, password);
    }
  },
});
