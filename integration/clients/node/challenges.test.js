// What npm twilio makes of challenges: create, fetch, list, update.
"use strict";

const assert = require("node:assert/strict");
const { inWorld, refused } = require("./world.js");

// What a full create sends, with characters that forms and JSON escape.
const message = 'Sign in to <Portal> & "more"? 100 % + ünï';
const fields = [
  { label: "Action", value: "Sign in & stay" },
  { label: "Where", value: "Zürich + 5.5 km" },
];
const hidden = { ip: "10.0.0.1", note: '<a href="x">&amp;</a> ümlaut' };

inWorld("create_push_full", async (w) => {
  const f = await w.push();
  const now = await w.now();
  const expirationDate = new Date(now + 30 * 60e3);
  const made = await w.entity().challenges.create({
    factorSid: f.sid,
    "details.message": message,
    "details.fields": fields,
    hiddenDetails: hidden,
    expirationDate,
  });
  assert.equal(made.status, "pending");
  assert.equal(made.respondedReason, "none");
  assert.equal(made.factorType, "push");
  assert.equal(made.dateResponded, null);
  assert.deepEqual([made.factorSid, made.serviceSid, made.identity, made.accountSid], [f.sid, w.service, w.identity, w.account]);
  assert.deepEqual(made.expirationDate, expirationDate);
  assert.deepEqual([made.dateCreated, made.dateUpdated], [new Date(now), new Date(now)]);
  assert.deepEqual(made.details, { message, fields });
  assert.deepEqual(made.hiddenDetails, hidden);
  assert.equal(made.metadata, null);
  const created = await w.created();
  assert.deepEqual(created.map((c) => [c.sid, c.answered]), [[made.sid, true]]);
});

inWorld("create_push_minimal", async (w) => {
  const f = await w.push();
  const made = await w.entity().challenges.create({ factorSid: f.sid, "details.message": "Sign in?" });
  assert.deepEqual(made.expirationDate, new Date((await w.now()) + 5 * 60e3));
  assert.deepEqual(made.details, { message: "Sign in?", fields: [] });
  assert.equal(made.hiddenDetails, null);
});

// twilio-node turns every date into UTC.
inWorld("create_expiration_with_zone", async (w) => {
  const f = await w.push();
  const at = new Date((await w.now()) + 30 * 60e3);
  const zoned = new Date(at.getTime() + 3600e3).toISOString().replace(/\.000Z$/, "+01:00");
  const made = await w.entity().challenges.create({ factorSid: f.sid, "details.message": "m", expirationDate: new Date(zoned) });
  assert.deepEqual(made.expirationDate, at);
});

inWorld("create_totp_right_code", async (w) => {
  const f = await w.totp();
  const made = await w.entity().challenges.create({ factorSid: f.sid, authPayload: await w.code(f) });
  assert.deepEqual([made.status, made.factorType, made.details], ["approved", "totp", null]);
  assert.deepEqual(made.dateResponded, new Date(await w.now()));
});

inWorld("create_totp_wrong_code", async (w) => {
  const f = await w.totp();
  const made = await w.entity().challenges.create({ factorSid: f.sid, authPayload: await w.wrong(f) });
  assert.deepEqual([made.status, made.dateResponded], ["pending", null]);
});

inWorld("create_totp_wrong_code_refused", async (w) => {
  const f = await w.totp();
  await refused(w.entity().challenges.create({ factorSid: f.sid, authPayload: await w.wrong(f) }), 403, 60324);
  assert.deepEqual(await w.created(), []);
}, { RefuseWrongCode: true });

// The documents' example, and the form with a callback that the documents of the
// generated JavaScript client show.
inWorld("create_as_in_the_documents", async (w) => {
  const f = await w.totp(8);
  const params = {
    "details.message": "Hi! Mr. John Doe, would you like to sign up?",
    "details.fields": [
      { label: "Action", value: "Sign up in portal" },
      { label: "Location", value: "California" },
    ],
    hiddenDetails: { ip: "127.0.0.1" },
    authPayload: await w.code(f),
    factorSid: f.sid,
  };
  const data = await new Promise((resolve, reject) => {
    w.entity().challenges.create(params, (error, item) => (error ? reject(error) : resolve(item)));
  });
  assert.deepEqual([data.status, data.factorType], ["approved", "totp"]);
  assert.deepEqual(data.details, { message: params["details.message"], fields: params["details.fields"] });
  assert.deepEqual(data.hiddenDetails, { ip: "127.0.0.1" });
});

inWorld("create_hidden_details_as_text", async (w) => {
  const hiddenDetails = '{"ip":"10.0.0.1"}'; // goes as it is
  const made = await w.entity().challenges.create({ factorSid: (await w.push()).sid, "details.message": "m", hiddenDetails });
  assert.deepEqual(made.hiddenDetails, { ip: "10.0.0.1" });
}, { AcceptQuotedJSON: true });

inWorld("create_details_with_date", async (w) => {
  const made = await w.entity().challenges.create({ factorSid: (await w.push()).sid, "details.message": "m" });
  assert.equal(made.details.date, "2026-03-04T05:06:07Z");
}, { IncludeDate: true });

inWorld("fetch_every_property", async (w) => {
  const f = await w.push();
  const made = await w.entity().challenges.create({ factorSid: f.sid, "details.message": message, "details.fields": fields, hiddenDetails: hidden });
  const got = await w.entity().challenges(made.sid).fetch();
  assert.deepEqual(got.toJSON(), made.toJSON());
  assert.deepEqual((await got.fetch()).toJSON(), made.toJSON()); // from the instance
  const url = `${w.url}/v2/Services/${w.service}/Entities/${w.identity}/Challenges/${made.sid}`;
  assert.equal(got.url, url);
  assert.deepEqual(got.links, { notifications: url + "/Notifications" });
});

inWorld("fetch_signature_fields", async (w) => {
  const sid = await w.ask(await w.push());
  const got = await w.entity().challenges(sid).fetchWithHttpInfo();
  assert.equal(got.statusCode, 200);
  assert.equal(got.body.sid, sid);
  assert.equal(
    got.headers["twilio-verify-signature-fields"],
    "sid,account_sid,service_sid,identity,factor_sid,date_created,expiration_date,details,hidden_details",
  );
});

inWorld("fetch_expired", async (w) => {
  const sid = await w.ask(await w.push());
  await w.move("5m");
  const got = await w.entity().challenges(sid).fetch();
  assert.deepEqual([got.status, got.dateResponded], ["expired", null]);
});

inWorld("fetch_identity_in_other_case", async (w) => {
  const sid = await w.ask(await w.push());
  const got = await w.entity(w.identity.toUpperCase()).challenges(sid).fetch();
  assert.deepEqual([got.sid, got.identity], [sid, w.identity]);
});

const sids = (items) => items.map((item) => item.sid);

inWorld("list_filters", async (w) => {
  const first = await w.push();
  const second = await w.push();
  const expired = await w.ask(first);
  await w.move("5m");
  const [approved, denied, pending] = [await w.ask(first), await w.ask(first), await w.ask(first)];
  const other = await w.ask(second);
  await w.entity().challenges(approved).update({ authPayload: await w.signed(first, approved, "approved") });
  await w.entity().challenges(denied).update({ authPayload: await w.signed(first, denied, "denied") });
  for (const [filter, want] of [
    [{}, [expired, approved, denied, pending, other]],
    [{ factorSid: first.sid }, [expired, approved, denied, pending]],
    [{ factorSid: second.sid }, [other]],
    [{ status: "pending" }, [pending, other]],
    [{ factorSid: first.sid, status: "pending" }, [pending]],
    [{ status: "expired" }, [expired]],
    [{ status: "approved" }, [approved]],
    [{ status: "denied" }, [denied]],
    [{ factorSid: second.sid, status: "denied" }, []],
  ]) {
    assert.deepEqual(sids(await w.entity().challenges.list(filter)), want, JSON.stringify(filter));
  }
});

inWorld("list_order", async (w) => {
  const want = await w.askMany(await w.push(), 5);
  assert.deepEqual(sids(await w.entity().challenges.list()), want);
  assert.deepEqual(sids(await w.entity().challenges.list({ order: "asc" })), want);
  assert.deepEqual(sids(await w.entity().challenges.list({ order: "desc", pageSize: 2 })), want.toReversed());
});

inWorld("list_page_size_and_limit", async (w) => {
  const all = await w.askMany(await w.push(), 7);
  for (const [options, items, pages] of [
    [{}, 7, 1],
    [{ pageSize: 2 }, 7, 4],
    [{ pageSize: 7 }, 7, 1],
    [{ pageSize: 3, limit: 4 }, 4, 2],
    [{ pageSize: 2, limit: 4 }, 4, 2],
    [{ limit: 3 }, 3, 1],
    [{ pageSize: 1 }, 7, 7],
    [{ pageSize: 1000 }, 7, 1],
    [{ limit: 20 }, 7, 1], // as in the documents
  ]) {
    const before = await w.calls("list");
    assert.deepEqual(sids(await w.entity().challenges.list(options)), all.slice(0, items), JSON.stringify(options));
    assert.equal((await w.calls("list")) - before, pages, JSON.stringify(options));
  }
});

inWorld("list_streams_many_pages", async (w) => {
  const want = await w.askMany(await w.push(), 120);
  const got = [];
  await new Promise((resolve, reject) => {
    w.entity().challenges.each({ pageSize: 7, done: (error) => (error ? reject(error) : resolve()) }, (item) => got.push(item.sid));
  });
  assert.deepEqual(got, want);
  assert.equal(await w.calls("list"), 18);
});

inWorld("list_stream_ends_at_limit", async (w) => {
  const want = await w.askMany(await w.push(), 30);
  const got = [];
  await w.entity().challenges.each({ pageSize: 7, limit: 10 }, (item) => got.push(item.sid));
  assert.deepEqual(got, want.slice(0, 10));
  assert.equal(await w.calls("list"), 2);
  const some = []; // and where its reader has enough
  await w.entity().challenges.each({ pageSize: 7 }, (item, done) => some.push(item.sid) === 7 && done());
  assert.deepEqual(some, want.slice(0, 7));
  assert.equal(await w.calls("list"), 3);
});

inWorld("list_pages", async (w) => {
  const f = await w.push();
  const want = await w.askMany(f, 5);
  const challenges = w.entity().challenges;
  const first = await challenges.page({ pageSize: 2, factorSid: f.sid, status: "pending", order: "asc" });
  assert.deepEqual(sids(first.instances), want.slice(0, 2));
  assert.equal(first.previousPageUrl, undefined);
  const query = new URL(first.nextPageUrl).searchParams;
  assert.deepEqual(Object.fromEntries(query), {
    FactorSid: f.sid, Status: "pending", Order: "asc", PageSize: "2", Page: "1", PageToken: "DN" + want[1],
  });
  const second = await first.nextPage();
  assert.deepEqual(sids(second.instances), want.slice(2, 4));
  const last = await challenges.getPage(second.nextPageUrl);
  assert.deepEqual(sids(last.instances), want.slice(4));
  assert.equal(last.nextPage(), undefined);
  assert.deepEqual(sids((await last.previousPage()).instances), want.slice(2, 4));
  assert.deepEqual(sids((await second.previousPage()).instances), want.slice(0, 2));
  const byToken = await challenges.page({ pageSize: 2, pageToken: "DN" + want[1], pageNumber: 1 });
  assert.deepEqual(sids(byToken.instances), want.slice(2, 4));
});

inWorld("list_empty", async (w) => {
  await w.push();
  assert.deepEqual(await w.entity().challenges.list(), []);
});

inWorld("list_page_size_clamped", async (w) => {
  const want = await w.askMany(await w.push(), 3);
  assert.deepEqual(sids(await w.entity().challenges.list({ limit: 1001 })), want); // sent as the page size
  assert.equal(w.last().body.meta.page_size, 1000);
}, { ClampPageSize: true });

inWorld("update_push_approved", async (w) => {
  const f = await w.push();
  const sid = await w.ask(f);
  const now = await w.move("20s");
  const got = await w.entity().challenges(sid).updateWithHttpInfo({ authPayload: await w.signed(f, sid, "approved"), metadata: { os: "Android" } });
  assert.equal(got.body.status, "approved");
  assert.deepEqual(got.body.dateResponded, new Date(now));
  assert.deepEqual(got.body.metadata, { os: "Android" });
  assert.ok(got.headers["twilio-verify-challenge-signature"]);
});

inWorld("update_push_denied", async (w) => {
  const f = await w.push();
  const sid = await w.ask(f);
  const got = await w.entity().challenges(sid).update({ authPayload: await w.signed(f, sid, "denied") });
  assert.equal(got.status, "denied");
  assert.ok(got.dateResponded);
});

inWorld("update_push_forged", async (w) => {
  const [f, other] = [await w.push(), await w.push()];
  const [sid, second] = [await w.ask(f), await w.ask(f)];
  for (const [name, authPayload] of [
    ["another key", await w.signed(other, sid, "approved")],
    ["another challenge", await w.signed(f, second, "approved")],
    ["no JWS", "approved"],
  ]) {
    await refused(w.entity().challenges(sid).update({ authPayload }), 403, 60324, name);
  }
  assert.equal((await w.entity().challenges(sid).fetch()).status, "pending");
});

inWorld("update_totp_right_code", async (w) => {
  const f = await w.totp(8);
  const { sid } = await w.entity().challenges.create({ factorSid: f.sid });
  const got = await w.entity().challenges(sid).update({ authPayload: await w.code(f) });
  assert.equal(got.status, "approved");
  assert.deepEqual(got.dateResponded, new Date(await w.now()));
});

inWorld("update_totp_wrong_code", async (w) => {
  const f = await w.totp();
  const { sid } = await w.entity().challenges.create({ factorSid: f.sid });
  await refused(w.entity().challenges(sid).update({ authPayload: await w.wrong(f) }), 403, 60324);
  assert.equal((await w.entity().challenges(sid).update({ authPayload: await w.code(f) })).status, "approved");
});

inWorld("update_totp_code_reused", async (w) => {
  const f = await w.totp();
  await w.move("1m"); // the code that verified the factor is none for a challenge
  const challenges = w.entity().challenges;
  const [first, second] = [await challenges.create({ factorSid: f.sid }), await challenges.create({ factorSid: f.sid })];
  await challenges(first.sid).update({ authPayload: await w.code(f) });
  await refused(challenges(second.sid).update({ authPayload: await w.code(f) }), 403, 60324);
  await w.move("30s");
  await challenges(second.sid).update({ authPayload: await w.code(f) });
}, { RefuseReusedCode: true });

inWorld("update_metadata", async (w) => {
  const sid = await w.ask(await w.push());
  const now = await w.move("1s");
  const metadata = { os: "Android", note: "<ü> & +" };
  const got = await w.entity().challenges(sid).update({ metadata });
  assert.equal(got.status, "pending");
  assert.deepEqual(got.dateUpdated, new Date(now));
  assert.deepEqual(got.metadata, metadata);
});
