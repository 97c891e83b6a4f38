"use strict";

SwaggerUIBundle({ url: "openapi.json", dom_id: "#functions", deepLinking: true, validatorUrl: null });
