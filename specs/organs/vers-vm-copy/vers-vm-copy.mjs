// Files from and to machines of the agent's own, through the platform's API.
import fs from "node:fs";
import path from "node:path";
import { call, check, fail, main, own } from "./platform.mjs";

const LARGEST = 16 << 20;

function there(file) {
  if (!path.posix.isAbsolute(file ?? "")) fail(`${file} is no absolute path on the machine`);
  return file;
}

await main("usage: vers-vm-copy.mjs get ID ABSOLUTE_PATH LOCAL_FILE | put LOCAL_FILE ID ABSOLUTE_PATH | check", {
  get: async (vm, from, to) => {
    if (!to) fail("the local file is missing");
    const found = await call("GET", `/vm/${(await own(vm)).vm_id}/files?path=${encodeURIComponent(there(from))}`, undefined, 120_000);
    fs.writeFileSync(`${to}.new`, Buffer.from(found.content_b64, "base64"), { flush: true });
    fs.renameSync(`${to}.new`, to);
  },
  put: async (from, vm, to) => {
    const { size, mode } = fs.statSync(from);
    if (size > LARGEST) fail(`${from} has ${size} bytes; at most ${LARGEST} go in one piece`);
    const body = { path: there(to), content_b64: fs.readFileSync(from).toString("base64"), mode: mode & 0o777, create_dirs: true };
    await call("PUT", `/vm/${(await own(vm)).vm_id}/files`, body, 120_000);
  },
  check,
});
