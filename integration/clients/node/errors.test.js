// Every error of the API, and of the way to it, as npm twilio words it.
"use strict";

const assert = require("node:assert/strict");
const TwilioServiceException = require("twilio/lib/base/TwilioServiceException").default;
const { NONE, RestException, failed, inWorld, newKeys, proof, refused } = require("./world.js");

inWorld("error_20003_credentials", async (w) => {
  const client = w.as("another0token");
  await refused(client.verify.v2.services(w.service).entities(w.identity).challenges("YC" + NONE).fetch(), 401, 20003);
});

inWorld("error_20404_not_found", async (w) => {
  await w.push();
  const error = await refused(w.entity().challenges("YC" + NONE).fetch(), 404, 20404);
  assert.ok(error.message.includes(`/Services/${w.service}/Entities/${w.identity}/Challenges/YC${NONE}`), error.message);
  await refused(w.entity().challenges("YC" + NONE).update({ authPayload: "123456" }), 404, 20404);
  await refused(w.entity("nobody-0001").challenges.list(), 404, 20404);
  await refused(w.entity().challenges.create({ factorSid: "YF" + NONE, "details.message": "m" }), 404, 20404);
});

inWorld("error_60390_60391_60392_not_found", async (w) => {
  await w.push();
  await refused(w.entity().challenges.create({ factorSid: "YF" + NONE, "details.message": "m" }), 404, 60390);
  await refused(w.entity().factors("YF" + NONE).fetch(), 404, 60390);
  await refused(w.entity().challenges("YC" + NONE).fetch(), 404, 60391);
  await refused(w.entity("nobody-0001").fetch(), 404, 60392);
}, { SpecificNotFound: true });

inWorld("error_60306_create", async (w) => {
  const [push, app] = [(await w.push()).sid, (await w.totp()).sid];
  const now = await w.now();
  const field = { label: "l", value: "v" };
  const create = (params) => w.entity().challenges.create({ factorSid: push, "details.message": "m", ...params });
  for (const [name, params] of Object.entries({
    "factor SID": { factorSid: "YF12" },
    "no message": { "details.message": undefined },
    "message of 257": { "details.message": "ü".repeat(257) },
    "21 fields": { "details.fields": Array(21).fill(field) },
    "label of 37": { "details.fields": [{ label: "l".repeat(37), value: "v" }] },
    "value of 129": { "details.fields": [{ label: "l", value: "v".repeat(129) }] },
    "field without a value": { "details.fields": [{ label: "l" }] },
    "null as a field": { "details.fields": [null] }, // as in the generated JavaScript client's example
    "61 minutes": { expirationDate: new Date(now + 61 * 60e3) },
    "expired at once": { expirationDate: new Date(now) },
    "expired long ago": { expirationDate: new Date("2013-10-20T19:20:30+01:00") }, // as in the same example
    "hidden number": { hiddenDetails: { n: 1 } },
    "hidden text": { hiddenDetails: "no object" },
    "hidden 1025": { hiddenDetails: { k: "v".repeat(1025 - 8) } },
    "code for push": { authPayload: "123456" },
    "code of 2": { factorSid: app, authPayload: "12" },
    "code of 9": { factorSid: app, authPayload: "123456789" },
  })) {
    await refused(create(params), 400, 60306, name);
  }
  await assert.rejects(async () => create({ factorSid: undefined }), /Required parameter/); // the client's own check
  assert.deepEqual(await w.created(), []);
  for (const params of [
    { "details.message": "ü".repeat(256) },
    { "details.fields": Array(20).fill(field) },
    { "details.fields": [{ label: "l".repeat(36), value: "v".repeat(128) }] },
    { expirationDate: new Date(now + 60 * 60e3) },
    { hiddenDetails: { k: "v".repeat(1024 - 8) } },
    { hiddenDetails: '{"ip":"10.0.0.1"}' }, // a text goes as it is
    { factorSid: app, authPayload: "123" },
  ]) {
    await create(params);
  }
});

inWorld("error_60306_update", async (w) => {
  const sid = await w.ask(await w.push());
  const second = (await w.entity().challenges.create({ factorSid: (await w.totp()).sid })).sid;
  for (const [name, on, params] of [
    ["nothing", sid, {}],
    ["payload of 5457", sid, { authPayload: "x".repeat(5457) }],
    ["code of 2", second, { authPayload: "12" }],
    ["code of 9", second, { authPayload: "123456789" }],
    ["metadata of 1025", sid, { metadata: { k: "v".repeat(1025 - 8) } }],
    ["metadata number", sid, { metadata: { n: 1 } }],
  ]) {
    await refused(w.entity().challenges(on).update(params), 400, 60306, name);
  }
  await refused(w.entity().challenges(sid).update({ authPayload: "x".repeat(5456) }), 403, 60324); // long enough to be looked at
});

inWorld("error_60306_list", async (w) => {
  await w.push();
  for (const options of [
    { pageSize: 1001 },
    { limit: 1001 }, // sent as the page size
    { factorSid: "YF12" },
    { status: "lost" },
    { order: "sideways" },
  ]) {
    await refused(w.entity().challenges.list(options), 400, 60306, JSON.stringify(options));
  }
  for (const options of [{ pageToken: "x" }, { pageToken: "DNYC" + NONE }, { pageNumber: -1 }, { pageSize: 0 }]) {
    await refused(w.entity().challenges.page(options), 400, 60306, JSON.stringify(options));
  }
});

inWorld("error_60306_names", async (w) => {
  await w.push();
  const fetch = (service, identity, sid) => w.client.verify.v2.services(service).entities(identity).challenges(sid).fetch();
  await refused(fetch("VA12", w.identity, "YC" + NONE), 400, 60306);
  await refused(fetch(w.service, "short", "YC" + NONE), 400, 60306);
  await refused(fetch(w.service, "x".repeat(65), "YC" + NONE), 400, 60306);
  await refused(fetch(w.service, w.identity, "YC12"), 400, 60306);
  await refused(w.client.verify.v2.services(w.service).entities.create({ identity: "jane@example.com" }), 400, 60306);
});

inWorld("error_factor_parameters", async (w) => {
  const push = w.pushParams(newKeys());
  const totp = { friendlyName: "app", factorType: "totp" };
  for (const [name, code, params] of [
    ["no name", 20001, { ...totp, friendlyName: "" }],
    ["name of 65", 60306, { ...totp, friendlyName: "n".repeat(65) }],
    ["type", 60369, { ...totp, factorType: "sms" }],
    ["key", 60314, { ...push, "binding.publicKey": Buffer.from("no key").toString("base64") }],
    ["algorithm", 60314, { ...push, "binding.alg": "RS256" }],
    ["secret", 60314, { ...totp, "binding.secret": "not Base32" }],
    ["token of 31", 60306, { ...push, "config.notificationToken": "t".repeat(31) }],
    ["platform", 60306, { ...push, "config.notificationPlatform": "wns" }],
    ["app of 101", 60306, { ...push, "config.appId": "a".repeat(101) }],
    ["time step 19", 60306, { ...totp, "config.timeStep": 19 }],
    ["time step 61", 60306, { ...totp, "config.timeStep": 61 }],
    ["skew 3", 60306, { ...totp, "config.skew": 3 }],
    ["code length 9", 60306, { ...totp, "config.codeLength": 9 }],
    ["alg", 60306, { ...totp, "config.alg": "md5" }],
    ["metadata", 60306, { ...totp, metadata: { n: 1 } }],
  ]) {
    await refused(w.entity().newFactors.create(params), 400, code, name);
  }
  const tokens = w.client.verify.v2.services(w.service).accessTokens;
  await refused(tokens.create({ identity: w.identity, factorType: "totp" }), 400, 60305);
});

inWorld("error_60301_entity_exists", async (w) => {
  const entities = w.client.verify.v2.services(w.service).entities;
  await entities.create({ identity: w.identity });
  await refused(entities.create({ identity: w.identity.toUpperCase() }), 409, 60301);
});

inWorld("error_60315_factor_count", async (w) => {
  for (let i = 0; i < 20; i++) await w.entity().newFactors.create(w.pushParams(newKeys()));
  await refused(w.entity().newFactors.create(w.pushParams(newKeys())), 400, 60315);
});

inWorld("error_60317_factor_exists", async (w) => {
  const params = w.pushParams(newKeys());
  await w.entity().newFactors.create(params);
  await refused(w.entity().newFactors.create(params), 409, 60317);
});

inWorld("error_60318_unverified", async (w) => {
  const made = await w.entity().newFactors.create(w.pushParams(newKeys()));
  await refused(w.entity().challenges.create({ factorSid: made.sid, "details.message": "m" }), 403, 60318);
});

inWorld("error_60322_responded", async (w) => {
  const f = await w.push();
  const challenge = w.entity().challenges(await w.ask(f));
  const authPayload = await w.signed(f, (await challenge.fetch()).sid, "approved");
  await challenge.update({ authPayload });
  await refused(challenge.update({ authPayload }), 403, 60322);
  await refused(challenge.update({ metadata: { os: "Any" } }), 403, 60322);
});

inWorld("error_60323_expired", async (w) => {
  const f = await w.push();
  const sid = await w.ask(f);
  const authPayload = await w.signed(f, sid, "approved");
  await w.move("5m");
  await refused(w.entity().challenges(sid).update({ authPayload }), 403, 60323);
});

inWorld("error_60308_challenge_attempts", async (w) => {
  const f = await w.totp();
  const challenge = w.entity().challenges((await w.entity().challenges.create({ factorSid: f.sid })).sid);
  for (let i = 0; i < 5; i++) await refused(challenge.update({ authPayload: await w.wrong(f) }), 403, 60324);
  await refused(challenge.update({ authPayload: await w.code(f) }), 429, 60308);
});

inWorld("error_60309_notifications", async (w) => {
  const notifications = w.entity().challenges(await w.ask(await w.push())).notifications;
  for (let i = 0; i < 3; i++) await notifications.create();
  await refused(notifications.create(), 429, 60309);
  await refused(notifications.create({ ttl: 301 }), 400, 60306);
  const silent = await w.push({ "config.notificationPlatform": "none" });
  await refused(w.entity().challenges(await w.ask(silent)).notifications.create(), 400, 60307);
});

inWorld("error_60310_factor_attempts", async (w) => {
  const made = await w.entity().newFactors.create({ friendlyName: "app", factorType: "totp" });
  const f = { sid: made.sid, secret: made.binding.secret, digits: 6 };
  const factor = w.entity().factors(f.sid);
  for (let i = 0; i < 5; i++) await refused(factor.update({ authPayload: await w.wrong(f) }), 403, 60311);
  await refused(factor.update({ authPayload: await w.code(f) }), 429, 60310);
});

inWorld("error_60312_creation_limit", async (w) => {
  for (const [digits, most] of [[4, 10], [5, 50]]) {
    const f = await w.totp(digits);
    for (let i = 0; i < most; i++) await w.entity().challenges.create({ factorSid: f.sid });
    await refused(w.entity().challenges.create({ factorSid: f.sid }), 429, 60312);
  }
}, { CreationLimits: true });

// twilio-node repeats nothing unless it is told to; then it repeats a 429.
inWorld("error_20429_throttled", async (w) => {
  const sid = await w.ask(await w.push());
  await w.faults({ operations: ["fetch"], throttle_rate: 1, retry_after: "3s" });
  await refused(w.entity().challenges(sid).fetch(), 429, 20429);
  assert.equal(w.last().headers["retry-after"], "3");
  assert.equal(await w.calls("fetch"), 1);
  const patient = w.as(w.token, { autoRetry: true, maxRetryDelay: 1 });
  await refused(patient.verify.v2.services(w.service).entities(w.identity).challenges(sid).fetch(), 429, 20429);
  assert.equal(await w.calls("fetch"), 5);
});

inWorld("error_5xx", async (w) => {
  const challenge = w.entity().challenges(await w.ask(await w.push()));
  for (const [status, code] of [[500, 20500], [503, 20503]]) {
    await w.faults({ operations: ["fetch"], server_error_rate: 1, server_error_status: status });
    await refused(challenge.fetch(), status, code);
  }
  await w.faults({ operations: ["fetch"], server_error_rate: 1, server_error_status: 502 }); // a gateway's page
  const error = await failed(challenge.fetch());
  assert.ok(error instanceof RestException);
  assert.deepEqual([error.status, error.code], [502, undefined]);
});

// Errors in the words of RFC 9457 have a class of their own.
inWorld("error_problem_body", async (w) => {
  const push = await w.push();
  const sid = await w.ask(push);
  for (const [status, code, call] of [
    [400, 60306, () => w.entity().challenges.create({ factorSid: push.sid, "details.message": "m".repeat(257) })],
    [404, 20404, () => w.entity().challenges("YC" + NONE).fetch()],
    [403, 60324, () => w.entity().challenges(sid).update({ authPayload: "a.b.c" })],
  ]) {
    const error = await failed(call(), code);
    assert.ok(error instanceof TwilioServiceException, `${error}`);
    assert.deepEqual([error.status, error.code, error.type], [status, code, `https://www.twilio.com/docs/errors/${code}`]);
    assert.ok(error.title && error.detail);
  }
  const listed = await failed(w.entity().challenges.list({ pageSize: 1001 })); // a list has one class for both wordings
  assert.ok(listed instanceof RestException, `${listed}`);
  assert.deepEqual([listed.status, listed.code], [400, 60306]);
}, { ProblemErrors: true });

// The challenge is made, and no client can know it.
inWorld("error_garbled_answer", async (w) => {
  const f = await w.push();
  await w.faults({ garbled_rate: 1 });
  const error = await failed(w.entity().challenges.create({ factorSid: f.sid, "details.message": "m" }));
  assert.ok(error instanceof SyntaxError, String(error));
  assert.equal((await w.created()).length, 1);
});

inWorld("error_connection_reset", async (w) => {
  const challenge = w.entity().challenges(await w.ask(await w.push()));
  await w.faults({ operations: ["fetch"], reset_after_rate: 1 });
  const error = await failed(challenge.fetch());
  assert.ok(!(error instanceof RestException));
  assert.equal(error.code, "ECONNRESET");
});

inWorld("error_timeout", async (w) => {
  const sid = await w.ask(await w.push());
  await w.faults({ operations: ["fetch"], latency: { fixed: "1h" } });
  const hasty = w.as(w.token, { timeout: 200 });
  const error = await failed(hasty.verify.v2.services(w.service).entities(w.identity).challenges(sid).fetch());
  assert.ok(!(error instanceof RestException));
  assert.equal(error.code, "ECONNABORTED");
});

// What was streamed before it is not lost, and the end is told.
inWorld("error_in_the_middle_of_a_list", async (w) => {
  await w.askMany(await w.push(), 5);
  await w.script("list", ["none", "server_error"]);
  let n = 0;
  await refused(w.entity().challenges.each({ pageSize: 2 }, () => n++), 500, 20500);
  assert.equal(n, 2);
});
