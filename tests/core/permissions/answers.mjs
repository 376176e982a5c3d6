// What the keeper's engine answers: reads {policies, cases: [[policy, tool, args]]} and prints one answer a case.
import fs from "node:fs";
import path from "node:path";
const keeper = process.argv[2];
const { load } = await import(path.join(keeper, "guardgrammar.mjs"));
const { decide, readRules } = await import(path.join(keeper, "guardrules.mjs"));
await load();
const { policies, cases } = JSON.parse(fs.readFileSync(0, "utf8"));
const rules = Object.fromEntries(Object.entries(policies).map(([name, said]) => [name, readRules(said)]));
const answers = cases.map(([policy, tool, args]) => decide(rules[policy], tool, args));
const hashes = Object.fromEntries(Object.entries(rules).map(([name, made]) => [name, made.hash]));
process.stdout.write(JSON.stringify({ answers, hashes }));
