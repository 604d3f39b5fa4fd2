// Renders every template of stdin with LiquidJS and writes what came out as JSON; null where LiquidJS refuses.
import { readFileSync } from "node:fs";
import { Liquid } from "liquidjs";

const engine = new Liquid({ strictFilters: true });

function rendered(template, variables) {
  try {
    return engine.parseAndRenderSync(template, variables);
  } catch {
    return null;
  }
}

const work = readFileSync(0, "utf8");
const { templates, variables } = JSON.parse(work);
const contexts = Array.isArray(variables) ? variables : templates.map(() => variables);
process.stdout.write(JSON.stringify(templates.map((template, place) => rendered(template, structuredClone(contexts[place])))));
