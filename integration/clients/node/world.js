// A world is one emulator with a clock that only its test moves, and the client.
"use strict";

const crypto = require("node:crypto");
const assert = require("node:assert/strict");
const test = require("node:test");
const twilio = require("twilio");
const RestException = require("twilio/lib/base/RestException").default;

const NONE = "0".repeat(32); // behind a prefix: nothing has it

async function call(method, url, body) {
  const response = await fetch(url, { method, body: body && JSON.stringify(body) });
  assert.ok(response.ok, `${method} ${url}: ${response.status}`);
  return response.status === 204 ? undefined : response.json();
}

class World {
  static async create(rules) {
    const made = await call("POST", process.env.CONTROL + "/worlds", rules);
    const world = Object.assign(new World(), made);
    world.client = world.as(made.token);
    return world;
  }

  // as is the client of whoever has this auth token.
  as(token, options = {}) {
    return this.with(this.account, token, options);
  }

  with(user, password, options = {}) {
    const client = twilio(user, password, { accountSid: this.account, ...options });
    client.verify.baseUrl = this.url;
    return client;
  }

  close() {
    return call("DELETE", `${process.env.CONTROL}/worlds/${this.id}`);
  }

  // move moves the clock, and now tells it, in milliseconds.
  async move(by) {
    return (await call("POST", `${process.env.CONTROL}/worlds/${this.id}/clock?by=${by}`)).now * 1000;
  }
  now() {
    return this.move("0s");
  }

  faults(faults) {
    return call("POST", this.url + "/_emulator/faults", faults);
  }
  script(operation, faults) {
    return call("POST", `${process.env.CONTROL}/worlds/${this.id}/script?operation=${operation}`, faults);
  }
  async calls(operation) {
    return (await call("GET", this.url + "/_emulator/stats")).calls[operation] ?? 0;
  }
  async created() {
    return (await call("GET", this.url + "/_emulator/created")).created;
  }

  // last is the answer before, as it came over the wire.
  last() {
    return this.client.httpClient.lastResponse;
  }

  entity(identity = this.identity) {
    return this.client.verify.v2.services(this.service).entities(identity);
  }

  pushParams(keys) {
    return {
      friendlyName: "phone",
      factorType: "push",
      "binding.alg": "ES256",
      "binding.publicKey": keys.publicKey.export({ type: "spki", format: "der" }).toString("base64"),
      "config.appId": "com.example.app",
      "config.notificationPlatform": "fcm",
      "config.notificationToken": "t".repeat(32),
      "config.sdkVersion": "1.0",
    };
  }

  // push enrols a phone.
  async push(more = {}) {
    const keys = newKeys();
    const made = await this.entity().newFactors.create({ ...this.pushParams(keys), ...more });
    await this.entity().factors(made.sid).update({ authPayload: proof(keys, made.sid) });
    return { sid: made.sid, keys };
  }

  // totp enrols an authenticator app.
  async totp(digits) {
    const made = await this.entity().newFactors.create({
      friendlyName: "app",
      factorType: "totp",
      ...(digits && { "config.codeLength": digits }),
    });
    const factor = { sid: made.sid, secret: made.binding.secret, digits: digits ?? 6 };
    await this.entity().factors(made.sid).update({ authPayload: await this.code(factor) });
    return factor;
  }

  async code(factor, late = 0) {
    return code(factor.secret, "sha1", 30, factor.digits, (await this.now()) + late * 1000);
  }

  // wrong is a code that is not right, nor within the skew.
  async wrong(factor) {
    const right = await Promise.all([-30, 0, 30].map((late) => this.code(factor, late)));
    return [..."0123456789"].map((c) => c.repeat(factor.digits)).find((c) => !right.includes(c));
  }

  async ask(factor) {
    return (await this.entity().challenges.create({ factorSid: factor.sid, "details.message": "Sign in?" })).sid;
  }

  // askMany makes challenges, a second apart.
  async askMany(factor, n) {
    const sids = [];
    for (let i = 0; i < n; i++) {
      sids.push(await this.ask(factor));
      await this.move("1s");
    }
    return sids;
  }

  // signed is the phone's answer to a challenge.
  async signed(factor, sid, status) {
    await this.entity().challenges(sid).fetch();
    const { headers, body } = this.last();
    const claims = { status };
    for (const name of headers["twilio-verify-signature-fields"].split(",")) claims[name] = body[name];
    const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
    const text = part({ typ: "JWT", alg: "ES256" }) + "." + part(claims);
    const key = { key: factor.keys.privateKey, dsaEncoding: "ieee-p1363" };
    return text + "." + crypto.sign("sha256", Buffer.from(text), key).toString("base64url");
  }
}

function newKeys() {
  return crypto.generateKeyPairSync("ec", { namedCurve: "P-256" });
}

// proof shows that the phone holds its key: a DER signature over the factor's SID.
function proof(keys, sid) {
  return crypto.sign("sha256", Buffer.from(sid), keys.privateKey).toString("base64");
}

// code is RFC 6238's.
function code(secret, alg, step, digits, at) {
  let bits = "";
  for (const c of secret.replace(/=+$/, "")) bits += "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567".indexOf(c).toString(2).padStart(5, "0");
  const key = Buffer.from(bits.match(/.{8}/g).map((b) => parseInt(b, 2)));
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(Math.floor(at / 1000 / step)));
  const mac = crypto.createHmac(alg, key).update(counter).digest();
  const number = mac.readUInt32BE(mac[mac.length - 1] & 15) & 0x7fffffff;
  return String(number % 10 ** digits).padStart(digits, "0");
}

// inWorld is a case in a world of its own.
function inWorld(name, run, rules = {}) {
  test(name, async () => {
    const world = await World.create(rules);
    try {
      await run(world);
    } finally {
      await world.close();
    }
  });
}

// refused expects the client's own error with all that the API words one by.
async function refused(promise, status, code, what = "") {
  const error = await failed(promise, what);
  assert.ok(error instanceof RestException, `${what}: ${error}`);
  assert.deepEqual([error.status, error.code], [status, code], `${what}: ${error.message}`);
  assert.equal(error.moreInfo, `https://www.twilio.com/docs/errors/${code}`);
  assert.ok(error.message);
  return error;
}

async function failed(promise, what = "") {
  let value;
  try {
    value = await promise;
  } catch (error) {
    return error;
  }
  assert.fail(`${what}: no error but ${value?.sid}`);
}

module.exports = { NONE, RestException, World, code, failed, inWorld, newKeys, proof, refused };
