// The only way out of a boundary that has no network: a proxy for HTTP and CONNECT on a socket that is bound into it. What is not on
// the list is refused and told.
import dns from "node:dns";
import fs from "node:fs";
import http from "node:http";
import net from "node:net";
import { count } from "./disk.mjs";

const MOST = 512;
const PATIENCE_MS = 30_000;
const HOP = new Set(["connection", "keep-alive", "proxy-authenticate", "proxy-authorization", "proxy-connection", "te", "trailer", "upgrade"]);

const inner = new net.BlockList(); // where only what is named by its address, or as localhost, is reached
for (const [address, bits, family] of [["0.0.0.0", 8, "ipv4"], ["127.0.0.0", 8, "ipv4"], ["169.254.0.0", 16, "ipv4"], ["::", 127, "ipv6"], ["fe80::", 10, "ipv6"]]) {
  inner.addSubnet(address, bits, family);
}

/** {host, port} of `host:port`, as a URL has it: in small letters, without a last dot; undefined for what is none. */
export function placeOf(authority, fallback) {
  try {
    const { hostname, port, pathname, username } = new URL(`http://${authority}`);
    if (pathname !== "/" || username) return undefined;
    const host = hostname.replace(/\.$/, "");
    const said = /:(\d+)$/.exec(authority)?.[1] ?? port; // URL leaves out :80
    const number = Number(said || fallback);
    return host && Number.isInteger(number) && number > 0 && number < 65536 ? { host, port: number } : undefined;
  } catch {
    return undefined;
  }
}

/** Whether a host and port are on the list: a name, `*.NAME` for all names below it, or an address. */
export function permits(list, { host, port }) {
  return list.some((entry) => {
    const wild = entry.startsWith("*.");
    const rule = placeOf(wild ? entry.slice(2) : entry);
    if (!rule || rule.port !== port) return false;
    return wild ? host.endsWith(`.${rule.host}`) : host === rule.host;
  });
}

/** Resolves a name as the machine does; one that leads to the machine itself is not followed, whoever answers for that name. */
function lookup(host, options, done) {
  dns.lookup(host, { ...options, all: true }, (error, found) => {
    if (error) return done(error);
    const outer = found.filter(({ address, family }) => host === "localhost" || !inner.check(address, family === 6 ? "ipv6" : "ipv4"));
    if (!outer.length) return done(Object.assign(new Error(`${host} leads to this machine itself`), { code: "EINNER" }));
    if (options.all) return done(null, outer);
    done(null, outer[0].address, outer[0].family);
  });
}

export class Proxy {
  #server;
  #allow;
  #refused;
  #open = new Set();

  /** `allow`: hosts with ports; `refused(place)` is told of what is not among them. */
  constructor(allow, refused) {
    this.#allow = allow;
    this.#refused = refused;
    this.#server = http.createServer({ requestTimeout: 0, headersTimeout: PATIENCE_MS }, (request, response) => this.#plain(request, response));
    this.#server.maxConnections = MOST;
    this.#server.on("connect", (request, socket, head) => this.#tunnel(request, socket, head));
    this.#server.on("connection", (socket) => {
      this.#open.add(socket);
      socket.on("error", () => count("proxyClientBroke"));
      socket.once("close", () => this.#open.delete(socket));
    });
    this.#server.on("clientError", (_, socket) => socket.destroy());
  }

  /** Resolves when it listens. */
  listen(socket) {
    fs.rmSync(socket, { force: true });
    return new Promise((resolve, reject) => {
      this.#server.once("error", reject);
      const umask = process.umask(0o177);
      this.#server.listen(socket, resolve);
      process.umask(umask);
    });
  }

  close() {
    this.#server.close();
    for (const socket of this.#open) socket.destroy();
  }

  #judge(authority, fallback) {
    const place = placeOf(authority, fallback);
    if (place && permits(this.#allow, place)) return { place };
    const told = place ? `${place.host}:${place.port}` : String(authority).slice(0, 200);
    this.#refused(told);
    return { why: `Denied by the boundary of this agent: ${told} is not among the hosts that it may reach.\n` };
  }

  #tunnel(request, client, head) {
    const { place, why } = this.#judge(request.url);
    if (!place) return client.end(`HTTP/1.1 403 Forbidden\r\nContent-Type: text/plain\r\nContent-Length: ${Buffer.byteLength(why)}\r\nConnection: close\r\n\r\n${why}`);
    const server = net.connect({ host: bare(place.host), port: place.port, lookup });
    server.setTimeout(PATIENCE_MS, () => server.connecting && server.destroy(new Error("no answer")));
    server.once("connect", () => {
      client.write("HTTP/1.1 200 Connection established\r\n\r\n");
      if (head.length) server.write(head);
      client.pipe(server).pipe(client);
    });
    server.on("error", (error) => {
      if (error.code === "EINNER") this.#refused(error.message);
      if (server.bytesRead || !client.writable) return client.destroy();
      client.end("HTTP/1.1 502 Bad Gateway\r\nConnection: close\r\n\r\n");
    });
    client.on("error", () => server.destroy());
    client.once("close", () => server.destroy());
  }

  #plain(request, response) {
    let url;
    try {
      url = new URL(request.url);
    } catch {
      url = undefined;
    }
    if (url?.protocol !== "http:") return response.writeHead(400).end("this is a proxy\n");
    const { place, why } = this.#judge(url.host, 80);
    if (!place) return response.writeHead(403, { "content-type": "text/plain" }).end(why);
    const headers = Object.fromEntries(Object.entries(request.headers).filter(([name]) => !HOP.has(name)));
    const options = { host: bare(place.host), port: place.port, path: `${url.pathname}${url.search}`, method: request.method, headers: { ...headers, host: url.host }, lookup };
    const forwarded = http.request(options, (answer) => {
      const back = Object.fromEntries(Object.entries(answer.headers).filter(([name]) => !HOP.has(name)));
      response.writeHead(answer.statusCode, back);
      answer.pipe(response);
      answer.on("error", () => response.destroy());
    });
    forwarded.on("error", (error) => {
      if (error.code === "EINNER") this.#refused(error.message);
      if (response.headersSent) return response.destroy();
      response.writeHead(502).end(`${place.host}:${place.port} can't be reached: ${error.code ?? "no answer"}\n`);
    });
    response.once("close", () => forwarded.destroy());
    request.pipe(forwarded);
  }
}

/** An IPv6 address without its brackets. */
const bare = (host) => host.replace(/^\[(.*)\]$/, "$1");
