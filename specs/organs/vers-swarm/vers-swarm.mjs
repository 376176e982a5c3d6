// Several machines of the agent's own from one commit, one command in all of them, and their end.
import { call, check, create, exec, fail, main, mine } from "./platform.mjs";

const MOST = 20;
const SWARM = "agents.vers.sh/swarm";
const say = (text) => process.stdout.write(`${text}\n`);

async function members(name) {
  if (!/^[a-z0-9](-?[a-z0-9])*$/.test(name ?? "") || name.length > 40) fail("a swarm's name is lower-case letters, digits and single hyphens");
  return (await mine()).filter((vm) => vm.labels?.[SWARM] === name);
}

async function one(name, commit) {
  const vm = await create(commit);
  try {
    await call("PATCH", `/vm/${vm}/label`, { labels: { [SWARM]: name } });
  } catch (error) {
    await call("DELETE", `/vm/${vm}`);
    throw error;
  }
  return vm;
}

await main("usage: vers-swarm.mjs spawn NAME COUNT [COMMIT_ID] | list NAME | run NAME -- COMMAND… | teardown NAME | check", {
  spawn: async (name, count, commit) => {
    const there = await members(name);
    const wanted = Number(count);
    if (!Number.isInteger(wanted) || wanted < 1 || wanted > MOST) fail(`COUNT is 1 to ${MOST}`);
    there.forEach((vm) => say(vm.vm_id));
    for (let made = there.length; made < wanted; made++) say(await one(name, commit)); // one after the other: the platform is shared
  },
  list: async (name) => (await members(name)).forEach((vm) => say(`${vm.vm_id}\t${vm.state}`)),
  run: async (name, dashes, ...command) => {
    if (dashes !== "--" || command.length === 0) fail("run NAME -- COMMAND…");
    const there = await members(name);
    if (there.length === 0) fail(`the swarm ${name} has no machine`);
    const ends = await Promise.allSettled(there.map((vm) => exec(vm.vm_id, command)));
    ends.forEach(({ value, reason }, i) => say(JSON.stringify({ vm: there[i].vm_id, ...(value ?? { error: reason.message }) })));
    if (ends.some(({ value }) => value?.exit_code !== 0)) process.exitCode = 1;
  },
  teardown: async (name) => {
    for (const vm of await members(name)) await call("DELETE", `/vm/${vm.vm_id}`, undefined, 120_000);
  },
  check,
});
