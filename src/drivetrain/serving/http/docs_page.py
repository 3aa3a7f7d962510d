"""A page that shows a model's OpenAPI document and calls it; it fetches nothing from anywhere else."""

DOCS_PAGE = b"""<!doctype html>
<html lang="en"><meta charset="utf-8"><title>Model API</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>
body{font:15px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1c1e21}
h1{font-size:1.4rem}h2{font-size:1.1rem;margin-top:2rem}code,pre,textarea{font:13px/1.45 ui-monospace,monospace}
table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.35rem .6rem;border-bottom:1px solid #ddd;vertical-align:top}
pre,textarea{background:#f5f6f7;border:1px solid #ddd;border-radius:4px;padding:.7rem}
pre,textarea{width:100%;box-sizing:border-box;overflow:auto}
textarea{min-height:8rem}button{font:inherit;padding:.4rem 1rem;margin:.5rem 0}
</style>
<h1>Model API</h1>
<p>The whole document is at <a href="openapi.json">openapi.json</a>.</p>
<h2>Inputs</h2><table id="inputs"></table>
<h2>Output</h2><pre id="output"></pre>
<h2>Try it</h2><textarea id="body" spellcheck="false"></textarea>
<button id="send">Run a prediction</button><pre id="answer" hidden></pre>
<h2>Routes</h2><table id="routes"></table>
<script>
const row = (table, cells, tag) => {
  const line = table.insertRow();
  for (const cell of cells) {
    const place = document.createElement(tag || "td");
    place.textContent = cell === undefined ? "" : String(cell);
    line.append(place);
  }
};
const byId = id => document.getElementById(id);
const say = (id, value) => { byId(id).textContent = JSON.stringify(value, null, 2); byId(id).hidden = false; };
const example = property =>
  "default" in property ? property.default : property.type === "integer" || property.type === "number" ? 1 :
  property.type === "boolean" ? false : property.type === "array" ? [] : property.type === "object" ? {} :
  property.format === "uri" ? "https://example.com/file" : "...";
fetch("openapi.json").then(answer => answer.json()).then(api => {
  const schemas = (api.components || {}).schemas || {};
  const input = schemas.Input || schemas.TrainingInput || {};
  const required = input.required || [];
  row(byId("inputs"), ["name", "type", "required", "default", "description"], "th");
  const body = {};
  for (const [name, property] of Object.entries(input.properties || {})) {
    const choice = property.allOf && schemas[property.allOf[0].$ref.split("/").pop()];
    const type = choice ? choice.enum.join(" | ") : property.format || property.type || "any";
    const kept = property.default === undefined ? "" : JSON.stringify(property.default);
    row(byId("inputs"), [name, type, required.includes(name) ? "yes" : "", kept, property.description]);
    if (required.includes(name)) body[name] = choice ? choice.enum[0] : example(property);
  }
  say("output", schemas.Output || schemas.TrainingOutput || {});
  byId("body").value = JSON.stringify({input: body}, null, 2);
  row(byId("routes"), ["method", "path", "what it does"], "th");
  for (const [path, methods] of Object.entries(api.paths || {}))
    for (const [method, operation] of Object.entries(methods))
      row(byId("routes"), [method.toUpperCase(), path, operation.summary || operation.description]);
  const create = schemas.Input ? "predictions" : "trainings";
  byId("send").onclick = async () => {
    byId("answer").hidden = false;
    byId("answer").textContent = "running";
    const headers = {"Content-Type": "application/json"};
    const answer = await fetch(create, {method: "POST", headers, body: byId("body").value});
    say("answer", await answer.json());
  };
}).catch(problem => { byId("output").textContent = "The document cannot be shown yet: " + problem; });
</script></html>
"""
