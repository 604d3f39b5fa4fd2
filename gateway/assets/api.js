// Starts Swagger UI on the gateway's own document. Nothing is loaded from, or sent to, anywhere else.
SwaggerUIBundle({
  url: "openapi.json",
  dom_id: "#api",
  deepLinking: true,
  presets: [SwaggerUIBundle.presets.apis],
  validatorUrl: null,
});
