// Says what Redocly's linter has against openapi.json; ends with 1 where that is anything.
import { createConfig, lint } from "@redocly/openapi-core";

const config = await createConfig({
  extends: ["recommended-strict"],
  rules: {
    "component-name-unique": "error",
    "no-invalid-parameter-examples": "error",
    "no-invalid-schema-examples": "error",
    "no-required-schema-properties-undefined": "error",
    "operation-description": "error",
    "operation-tag-defined": "error",
    "parameter-description": "error",
    "tags-alphabetical": "error",
  },
});
const problems = await lint({ ref: process.argv[2], config });
for (const { ruleId, message, location } of problems) {
  console.log(`${ruleId}: ${message} ${location[0]?.pointer ?? ""}`);
}
process.exitCode = problems.length ? 1 : 0;
