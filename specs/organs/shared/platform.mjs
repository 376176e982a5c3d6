// The platform's API, for the machines that this agent made itself: they carry its mark, and no other is ever changed.
import fs from "node:fs";
import path from "node:path";

const MADE_BY = "agents.vers.sh/made-by";
const ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

export function fail(message) {
  process.stderr.write(`error: ${message}\n`);
  process.exit(1);
}

/** Full ids only: a prefix may name another machine. */
export function id(text) {
  if (!ID.test(text ?? "")) fail(`${text} is no full id`);
  return text.toLowerCase();
}

function base() {
  const url = (process.env.VERS_BASE_URL ?? process.env.VERS_URL ?? "https://api.vers.sh").replace(/\/+$/, "");
  return url.endsWith("/api/v1") ? url : `${url}/api/v1`;
}

/** Who made it: the uid of this lieutenant, which stays the same on every machine it ever has. */
export function maker() {
  try {
    const claim = JSON.parse(fs.readFileSync(path.join(process.env.FLEET_BASE ?? "/var/lib/reconciler", "claim.json"), "utf8"));
    if (claim.uid) return claim.uid;
  } catch {
    // told below
  }
  return fail("this machine has no claim; who makes another machine must be known");
}

export async function call(method, what, body, timeout = 60_000) {
  const key = process.env.VERS_API_KEY;
  if (!key) fail("there is no VERS_API_KEY; declare it in the env of the profile or the lieutenant");
  let answer;
  try {
    answer = await fetch(`${base()}${what}`, {
      method,
      headers: { authorization: `Bearer ${key}`, ...(body === undefined ? {} : { "content-type": "application/json" }) },
      body: body === undefined ? undefined : JSON.stringify(body),
      signal: AbortSignal.timeout(timeout),
    });
  } catch (error) {
    return fail(`the platform does not answer (${error.cause?.code ?? error.name})`);
  }
  const text = await answer.text();
  if (!answer.ok) {
    const told = new Error(`${method} ${what.split("?")[0]}: ${answer.status} ${text.slice(0, 300)}`);
    told.status = answer.status;
    throw told;
  }
  return text ? JSON.parse(text) : {};
}

/** The machines that this agent made. */
export async function mine() {
  const found = await call("GET", "/vms");
  return (Array.isArray(found) ? found : found.vms).filter((vm) => vm.labels?.[MADE_BY] === maker());
}

/** A machine of its own, or the end of the program. */
export async function own(text) {
  const wanted = id(text);
  const found = (await mine()).find((vm) => vm.vm_id.toLowerCase() === wanted);
  return found ?? fail(`${wanted} was not made by this agent; it is left alone`);
}

/** From a commit when one is named, else from the default image. One that can't be marked is not kept. */
export async function create(commit, sizes = {}) {
  const labels = { [MADE_BY]: maker() };
  const made = commit
    ? await call("POST", "/vm/from_commit", { commit_id: id(commit) }, 180_000)
    : await call("POST", "/vm/new_root?wait_boot=true", { vm_config: { image_name: "default", ...sizes, labels } }, 180_000);
  const vm = id(made.vm_id ?? made.vms?.[0]?.vm_id);
  if (!commit) return vm;
  try {
    await call("PATCH", `/vm/${vm}/label`, { labels });
  } catch (error) {
    await call("DELETE", `/vm/${vm}`);
    throw error;
  }
  return vm;
}

/** Words of the two dialects of the platform for the same state. */
export async function setState(vm, ...words) {
  for (const [at, state] of words.entries()) {
    try {
      return await call("PATCH", `/vm/${vm}/state`, { state }, 120_000);
    } catch (error) {
      if (error.status !== 422 || at === words.length - 1) throw error;
    }
  }
}

/** {exit_code, stdout, stderr} of a command there; its arguments are a list, no shell reads them. */
export async function exec(vm, command, seconds = 600) {
  return call("POST", `/vm/${vm}/exec`, { command, timeout_secs: seconds }, (seconds + 30) * 1000);
}

/** With a key: that the platform takes it. Without one: that the program is whole. */
export async function check() {
  if (process.env.VERS_API_KEY) await mine();
  process.stdout.write("ok\n");
}

export async function main(usage, verbs) {
  const [verb, ...args] = process.argv.slice(2);
  if (!Object.hasOwn(verbs, verb ?? "")) fail(usage);
  try {
    await verbs[verb](...args);
  } catch (error) {
    fail(error.message);
  }
}
