// Runs beside the official JavaScript client: pieces of code come in by lines of JSON, what they return goes out.
// Each piece is the body of an async function that is given the module and a client.

import { createInterface } from "node:readline";
import { createRequire } from "node:module";

const require = createRequire(`${process.env.CLIENT_FOLDER}/`);
const Replicate = require("replicate");
const replicate = new Replicate({ baseUrl: process.env.REPLICATE_BASE_URL });
const AsyncFunction = (async () => {}).constructor;

async function run(code, values) {
  const names = Object.keys(values);
  const piece = new AsyncFunction("replicate", "Replicate", "require", ...names, code);
  return piece(replicate, Replicate, require, ...names.map((name) => values[name]));
}

for await (const line of createInterface({ input: process.stdin })) {
  const order = JSON.parse(line);
  let answer;
  try {
    answer = { value: (await run(order.code, order.arguments)) ?? null };
  } catch (error) {
    const status = error.response ? error.response.status : null;
    answer = { error: { type: error.name, message: error.message, traceback: error.stack, status } };
  }
  process.stdout.write(`${JSON.stringify(answer)}\n`);
}
