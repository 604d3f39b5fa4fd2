// Renders with LiquidJS, a line of JSON in and a line out for each template; null where LiquidJS refuses.
import { createInterface } from "node:readline";
import { Liquid } from "liquidjs";

const engine = new Liquid({ strictFilters: true });

for await (const line of createInterface({ input: process.stdin })) {
  const { template, variables } = JSON.parse(line);
  let shown = null;
  try {
    shown = engine.parseAndRenderSync(template, variables);
  } catch {}
  process.stdout.write(JSON.stringify(shown) + "\n");
}
