// What npm twilio makes of factors, entities, notifications and access tokens.
"use strict";

const assert = require("node:assert/strict");
const { NONE, inWorld, newKeys, proof, refused } = require("./world.js");

inWorld("factor_push_life", async (w) => {
  const keys = newKeys();
  const params = w.pushParams(keys);
  const made = await w.entity().newFactors.create({ ...params, metadata: { os: "Any" } });
  assert.deepEqual([made.status, made.factorType, made.metadata], ["unverified", "push", { os: "Any" }]);
  assert.deepEqual(made.binding, { alg: "ES256", public_key: params["binding.publicKey"] });
  assert.equal(made.config.notification_platform, "fcm");
  assert.equal(made.config.app_id, "com.example.app");
  assert.equal(made.config.sdk_version, "1.0");
  assert.ok(made.config.credential_sid);
  const factor = w.entity().factors(made.sid);
  const verified = await factor.updateWithHttpInfo({ authPayload: proof(keys, made.sid) });
  assert.equal(verified.body.status, "verified");
  assert.ok(verified.headers["twilio-verify-factor-signature"]);
  const token = "n".repeat(255);
  await factor.update({
    friendlyName: "new phone",
    "config.notificationToken": token,
    "config.sdkVersion": "2.0",
    "config.notificationPlatform": "apn",
  });
  const got = await factor.fetch();
  assert.equal(got.friendlyName, "new phone");
  assert.deepEqual([got.config.notification_token, got.config.sdk_version, got.config.notification_platform], [token, "2.0", "apn"]);
  assert.equal(await factor.remove(), true);
  await refused(factor.fetch(), 404, 20404);
});

inWorld("factor_totp_life", async (w) => {
  const secret = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ";
  const made = await w.entity().newFactors.create({
    friendlyName: "app & co",
    factorType: "totp",
    "binding.secret": secret,
    "config.alg": "sha256",
    "config.timeStep": 60,
    "config.skew": 2,
    "config.codeLength": 8,
  });
  assert.deepEqual(made.config, { alg: "sha256", skew: 2, code_length: 8, time_step: 60 });
  for (const part of ["otpauth://totp/", "app%20&%20co?", "secret=" + secret, "algorithm=SHA256", "digits=8", "period=60"]) {
    assert.ok(made.binding.uri.includes(part), `${made.binding.uri} has no ${part}`);
  }
  const factor = w.entity().factors(made.sid);
  await refused(factor.update({ authPayload: "00000000" }), 403, 60311);
  await factor.update({ "config.alg": "sha1", "config.timeStep": 30, "config.skew": 1, "config.codeLength": 6 });
  const verified = await factor.update({ authPayload: await w.code({ secret, digits: 6 }) });
  assert.equal(verified.status, "verified");
  assert.deepEqual(verified.config, { alg: "sha1", skew: 1, code_length: 6, time_step: 30 });
  assert.equal(await factor.remove(), true);
});

inWorld("factor_list_pages", async (w) => {
  const want = [];
  for (let i = 0; i < 5; i++) want.push((await w.push()).sid);
  want.push((await w.totp()).sid);
  const before = await w.calls("list_factors");
  const factors = await w.entity().factors.list({ pageSize: 2 });
  assert.deepEqual(factors.map((f) => [f.sid, f.status]), want.map((sid) => [sid, "verified"]));
  assert.equal((await w.calls("list_factors")) - before, 3);
});

inWorld("entity_life", async (w) => {
  const entities = w.client.verify.v2.services(w.service).entities;
  const made = await entities.create({ identity: w.identity });
  const url = `${w.url}/v2/Services/${w.service}/Entities/${w.identity}`;
  assert.deepEqual([made.identity, made.serviceSid, made.url], [w.identity, w.service, url]);
  assert.deepEqual(made.links, { factors: url + "/Factors", new_factors: url + "/Factors", challenges: url + "/Challenges" });
  const got = await entities(w.identity).fetch();
  assert.equal(got.sid, made.sid);
  assert.deepEqual(got.dateCreated, new Date(await w.now()));
  assert.equal(await entities(w.identity).remove(), true);
  await refused(entities(w.identity).fetch(), 404, 20404);
});

inWorld("entity_list_pages", async (w) => {
  const entities = w.client.verify.v2.services(w.service).entities;
  const names = ["user-0001", "user-0002", "user-0003", "user-0004", "user-0005"];
  for (const identity of names) await entities.create({ identity });
  assert.deepEqual((await entities.list({ pageSize: 2 })).map((e) => e.identity), names);
  assert.equal(await w.calls("list_entities"), 3);
});

inWorld("notification_sent_again", async (w) => {
  const notifications = w.entity().challenges(await w.ask(await w.push())).notifications;
  const sent = await notifications.create({ ttl: 0 });
  assert.deepEqual([sent.ttl, sent.priority, sent.sid.slice(0, 2)], [0, "high", "NT"]);
  assert.equal((await notifications.create()).ttl, 300);
});

// An app that holds no credentials enrols with it, for its own identity alone.
inWorld("access_token", async (w) => {
  const tokens = w.client.verify.v2.services(w.service).accessTokens;
  const made = await tokens.create({ identity: w.identity, factorType: "push", factorFriendlyName: "phone", ttl: 300 });
  assert.deepEqual([made.ttl, made.entityIdentity, made.factorType, made.factorFriendlyName], [300, w.identity, "push", "phone"]);
  const got = await tokens(made.sid).fetch();
  assert.deepEqual(got.toJSON(), made.toJSON());
  const app = w.with("token", made.token).verify.v2.services(w.service);
  const enrolled = await app.entities(w.identity).newFactors.create(w.pushParams(newKeys()));
  assert.equal(enrolled.status, "unverified");
  await refused(app.entities("another-user").newFactors.create(w.pushParams(newKeys())), 403, 60313);
  await refused(tokens("YK" + NONE).fetch(), 404, 20404);
});

inWorld("api_key", async (w) => {
  const sid = await w.ask(await w.push());
  const fetch = (client) => client.verify.v2.services(w.service).entities(w.identity).challenges(sid).fetch();
  assert.equal((await fetch(w.with(w.keySID, w.keySecret))).accountSid, w.account);
  await refused(fetch(w.with(w.keySID, "another0secret")), 401, 20003);
});
