// A shell on a machine of the agent's own: OpenSSH through the platform's TLS gateway. The key is in a file of its own only while
// the connection lasts.
import { execFileSync, spawnSync } from "node:child_process";
import fs from "node:fs";
import os from "node:os";
import path from "node:path";
import { call, check as platform, fail, main, own } from "./platform.mjs";

async function run(text, ...command) {
  const { vm_id: vm } = await own(text);
  const { ssh_private_key: key } = await call("GET", `/vm/${vm}/ssh_key`);
  const work = fs.mkdtempSync(path.join(os.tmpdir(), "ssh-"));
  const host = `${vm}.${process.env.RECONCILER_VM_DOMAIN ?? "vm.vers.sh"}`;
  const gateway = process.env.RECONCILER_VM_GATEWAY ?? `${host}:443`;
  if (!/^[A-Za-z0-9.:[\]-]+$/.test(`${host}${gateway}`)) fail("the gateway's name has characters that no host has");
  try {
    const file = path.join(work, "key");
    fs.writeFileSync(file, key.endsWith("\n") ? key : `${key}\n`, { mode: 0o600 });
    const options = ["-o", `ProxyCommand=openssl s_client -connect ${gateway} -servername ${host} -quiet`, "-o", "ConnectTimeout=30"];
    const trust = ["-o", "StrictHostKeyChecking=no", "-o", `UserKnownHostsFile=${path.join(work, "hosts")}`, "-o", "LogLevel=ERROR", "-o", "BatchMode=yes"];
    const ended = spawnSync("ssh", ["-i", file, ...options, ...trust, `root@${host}`, ...command], { stdio: "inherit" });
    process.exitCode = ended.status ?? 255;
  } finally {
    fs.rmSync(work, { recursive: true, force: true });
  }
}

async function check() {
  for (const [program, flag] of [["ssh", "-V"], ["openssl", "version"]]) {
    try {
      execFileSync(program, [flag], { stdio: "ignore" });
    } catch {
      fail(`${program} is missing; add a step that installs it`);
    }
  }
  await platform();
}

await main("usage: ssh.mjs run ID COMMAND… | check", { run, check });
