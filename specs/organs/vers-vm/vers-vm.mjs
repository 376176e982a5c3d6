// Machines of the agent's own.
import { call, check, create, fail, id, main, mine, own, setState } from "./platform.mjs";

function sizes(args) {
  const found = {};
  const names = { "--vcpus": "vcpu_count", "--memory-mib": "mem_size_mib", "--disk-mib": "fs_size_mib", "--commit": "commit" };
  for (let i = 0; i < args.length; i += 2) {
    if (!names[args[i]] || args[i + 1] === undefined) fail(`${args[i]} is none of ${Object.keys(names).join(", ")}, or has no value`);
    found[names[args[i]]] = args[i] === "--commit" ? args[i + 1] : Number(args[i + 1]);
  }
  return found;
}

const say = (text) => process.stdout.write(`${text}\n`);

await main("usage: vers-vm.mjs create [--commit ID | --vcpus N --memory-mib N --disk-mib N] | list | suspend ID | resume ID | commit ID [NAME] | delete ID | check", {
  create: async (...args) => {
    const { commit, ...rest } = sizes(args);
    say(await create(commit, rest));
  },
  list: async () => (await mine()).forEach((vm) => say(`${vm.vm_id}\t${vm.state}\t${vm.created_at}`)),
  suspend: async (vm) => setState((await own(vm)).vm_id, "Paused", "Sleeping"),
  resume: async (vm) => setState((await own(vm)).vm_id, "Running"),
  commit: async (vm, name) => say(id((await call("POST", `/vm/${(await own(vm)).vm_id}/commit`, name ? { name } : {}, 300_000)).commit_id)),
  delete: async (vm) => call("DELETE", `/vm/${(await own(vm)).vm_id}`, undefined, 120_000),
  check,
});
