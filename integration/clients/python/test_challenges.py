"""What PyPI twilio makes of challenges: create, fetch, list, update."""

import itertools
from datetime import timedelta, timezone
from urllib.parse import parse_qs, urlsplit

from world import Case, rules

# What a full create sends, with characters that forms and JSON escape.
MESSAGE = 'Sign in to <Portal> & "more"? 100 % + ünï'
FIELDS = [
    {"label": "Action", "value": "Sign in & stay"},
    {"label": "Where", "value": "Zürich + 5.5 km"},
]
HIDDEN = {"ip": "10.0.0.1", "note": '<a href="x">&amp;</a> ümlaut'}

PROPERTIES = [
    "sid account_sid service_sid entity_sid identity factor_sid date_created date_updated date_responded",
    "expiration_date status responded_reason details hidden_details metadata factor_type url links",
]


def shown(challenge):
    return {name: getattr(challenge, name) for line in PROPERTIES for name in line.split()}


def sids(items):
    return [item.sid for item in items]


class Create(Case):
    def test_create_push_full(self):
        f, now = self.w.push(), self.w.now()
        expires = now + timedelta(minutes=30)
        made = self.w.entity().challenges.create(
            factor_sid=f.sid,
            details_message=MESSAGE,
            details_fields=FIELDS,
            hidden_details=HIDDEN,
            expiration_date=expires,
        )
        self.assertEqual((made.status, made.responded_reason, made.factor_type), ("pending", "none", "push"))
        self.assertIsNone(made.date_responded)
        self.assertEqual(
            (made.factor_sid, made.service_sid, made.identity, made.account_sid),
            (f.sid, self.w.service, self.w.identity, self.w.account),
        )
        self.assertEqual((made.expiration_date, made.date_created, made.date_updated), (expires, now, now))
        self.assertEqual(made.details, {"message": MESSAGE, "fields": FIELDS})
        self.assertEqual(made.hidden_details, HIDDEN)
        self.assertIsNone(made.metadata)
        self.assertEqual([(c["sid"], c["answered"]) for c in self.w.created()], [(made.sid, True)])

    def test_create_push_minimal(self):
        made = self.w.entity().challenges.create(factor_sid=self.w.push().sid, details_message="Sign in?")
        self.assertEqual(made.expiration_date, self.w.now() + timedelta(minutes=5))
        self.assertEqual(made.details, {"message": "Sign in?", "fields": []})
        self.assertIsNone(made.hidden_details)

    def test_create_expiration_with_zone(self):
        """twilio-python writes the wall clock of any zone with a Z behind it: its
        caller has to convert, or the challenge lives longer or not at all."""
        f, at = self.w.push(), self.w.now() + timedelta(minutes=30)
        create = self.w.entity().challenges.create
        made = create(factor_sid=f.sid, details_message="m", expiration_date=at)
        self.assertEqual(made.expiration_date, at)
        zoned = at.astimezone(timezone(timedelta(hours=1)))  # 90 minutes ahead, as it is sent
        self.refused(400, 60306, create, factor_sid=f.sid, details_message="m", expiration_date=zoned)
        made = create(factor_sid=f.sid, details_message="m", expiration_date="2026-03-04T06:36:07+01:00")
        self.assertEqual(made.expiration_date, at)  # a text goes as it is

    def test_create_totp_right_code(self):
        f = self.w.totp()
        made = self.w.entity().challenges.create(factor_sid=f.sid, auth_payload=self.w.code(f))
        self.assertEqual((made.status, made.factor_type, made.details), ("approved", "totp", None))
        self.assertEqual(made.date_responded, self.w.now())

    def test_create_totp_wrong_code(self):
        f = self.w.totp()
        made = self.w.entity().challenges.create(factor_sid=f.sid, auth_payload=self.w.wrong(f))
        self.assertEqual((made.status, made.date_responded), ("pending", None))

    @rules(RefuseWrongCode=True)
    def test_create_totp_wrong_code_refused(self):
        f = self.w.totp()
        self.refused(403, 60324, self.w.entity().challenges.create, factor_sid=f.sid, auth_payload=self.w.wrong(f))
        self.assertEqual(self.w.created(), [])

    def test_create_as_in_the_documents(self):
        f = self.w.totp(8)
        message = "Hi! Mr. John Doe, would you like to sign up?"
        fields = [{"label": "Action", "value": "Sign up in portal"}, {"label": "Location", "value": "California"}]
        challenge = (
            self.w.client.verify.v2.services(self.w.service)
            .entities(self.w.identity)
            .challenges.create(
                details_message=message,
                details_fields=fields,
                hidden_details={"ip": "127.0.0.1"},
                auth_payload=self.w.code(f),
                factor_sid=f.sid,
            )
        )
        self.assertEqual((challenge.status, challenge.factor_type), ("approved", "totp"))
        self.assertEqual(challenge.details, {"message": message, "fields": fields})
        self.assertEqual(challenge.hidden_details, {"ip": "127.0.0.1"})

    @rules(AcceptQuotedJSON=True)
    def test_create_hidden_details_as_text(self):
        made = self.w.entity().challenges.create(
            factor_sid=self.w.push().sid, details_message="m", hidden_details='{"ip":"10.0.0.1"}'  # goes as it is
        )
        self.assertEqual(made.hidden_details, {"ip": "10.0.0.1"})

    @rules(IncludeDate=True)
    def test_create_details_with_date(self):
        made = self.w.entity().challenges.create(factor_sid=self.w.push().sid, details_message="m")
        self.assertEqual(made.details["date"], "2026-03-04T05:06:07Z")


class Fetch(Case):
    def test_fetch_every_property(self):
        made = self.w.entity().challenges.create(
            factor_sid=self.w.push().sid, details_message=MESSAGE, details_fields=FIELDS, hidden_details=HIDDEN
        )
        got = self.w.entity().challenges(made.sid).fetch()
        self.assertEqual(shown(got), shown(made))
        self.assertEqual(shown(got.fetch()), shown(made))  # from the instance
        url = f"{self.w.url}/v2/Services/{self.w.service}/Entities/{self.w.identity}/Challenges/{made.sid}"
        self.assertEqual(got.url, url)
        self.assertEqual(got.links, {"notifications": url + "/Notifications"})

    def test_fetch_signature_fields(self):
        sid = self.w.ask(self.w.push())
        got = self.w.entity().challenges(sid).fetch_with_http_info()
        self.assertEqual((got.status_code, got.data.sid), (200, sid))
        self.assertEqual(
            got.headers["Twilio-Verify-Signature-Fields"],
            "sid,account_sid,service_sid,identity,factor_sid,date_created,expiration_date,details,hidden_details",
        )

    def test_fetch_expired(self):
        sid = self.w.ask(self.w.push())
        self.w.move("5m")
        got = self.w.entity().challenges(sid).fetch()
        self.assertEqual((got.status, got.date_responded), ("expired", None))

    def test_fetch_identity_in_other_case(self):
        sid = self.w.ask(self.w.push())
        got = self.w.entity(self.w.identity.upper()).challenges(sid).fetch()
        self.assertEqual((got.sid, got.identity), (sid, self.w.identity))


class List(Case):
    def test_list_filters(self):
        first, second = self.w.push(), self.w.push()
        expired = self.w.ask(first)
        self.w.move("5m")
        approved, denied, pending, other = (self.w.ask(f) for f in (first, first, first, second))
        for sid, status in ((approved, "approved"), (denied, "denied")):
            self.w.entity().challenges(sid).update(auth_payload=self.w.signed(first, sid, status))
        for options, want in (
            ({}, [expired, approved, denied, pending, other]),
            ({"factor_sid": first.sid}, [expired, approved, denied, pending]),
            ({"factor_sid": second.sid}, [other]),
            ({"status": "pending"}, [pending, other]),
            ({"factor_sid": first.sid, "status": "pending"}, [pending]),
            ({"status": "expired"}, [expired]),
            ({"status": "approved"}, [approved]),
            ({"status": "denied"}, [denied]),
            ({"factor_sid": second.sid, "status": "denied"}, []),
        ):
            with self.subTest(**options):
                self.assertEqual(sids(self.w.entity().challenges.list(**options)), want)

    def test_list_order(self):
        want = self.w.ask_many(self.w.push(), 5)
        challenges = self.w.entity().challenges
        self.assertEqual(sids(challenges.list()), want)
        self.assertEqual(sids(challenges.list(order="asc")), want)
        self.assertEqual(sids(challenges.list(order="desc", page_size=2)), want[::-1])

    def test_list_page_size_and_limit(self):
        every = self.w.ask_many(self.w.push(), 7)
        for options, items, pages in (
            ({}, 7, 1),
            ({"page_size": 2}, 7, 4),
            ({"page_size": 7}, 7, 1),
            ({"page_size": 3, "limit": 4}, 4, 2),
            ({"page_size": 2, "limit": 4}, 4, 2),
            ({"limit": 3}, 3, 1),
            ({"page_size": 1}, 7, 7),
            ({"page_size": 1000}, 7, 1),
            ({"limit": 20}, 7, 1),  # as in the documents
        ):
            with self.subTest(**options):
                before = self.w.calls("list")
                self.assertEqual(sids(self.w.entity().challenges.list(**options)), every[:items])
                self.assertEqual(self.w.calls("list") - before, pages)

    def test_list_streams_many_pages(self):
        want = self.w.ask_many(self.w.push(), 120)
        self.assertEqual(sids(self.w.entity().challenges.stream(page_size=7)), want)
        self.assertEqual(self.w.calls("list"), 18)

    def test_list_stream_ends_at_limit(self):
        want = self.w.ask_many(self.w.push(), 30)
        self.assertEqual(sids(self.w.entity().challenges.stream(page_size=7, limit=10)), want[:10])
        self.assertEqual(self.w.calls("list"), 2)
        some = itertools.islice(self.w.entity().challenges.stream(page_size=7), 7)  # and where its reader has enough
        self.assertEqual(sids(some), want[:7])
        self.assertEqual(self.w.calls("list"), 3)

    def test_list_pages(self):
        f = self.w.push()
        want = self.w.ask_many(f, 5)
        challenges = self.w.entity().challenges
        first = challenges.page(page_size=2, factor_sid=f.sid, status="pending", order="asc")
        self.assertEqual(sids(first), want[:2])
        self.assertIsNone(first.previous_page_url)
        self.assertEqual(
            parse_qs(urlsplit(first.next_page_url).query),
            {
                "FactorSid": [f.sid],
                "Status": ["pending"],
                "Order": ["asc"],
                "PageSize": ["2"],
                "Page": ["1"],
                "PageToken": ["DN" + want[1]],
            },
        )
        second = first.next_page()
        self.assertEqual(sids(second), want[2:4])
        last = challenges.get_page(second.next_page_url)
        self.assertEqual(sids(last), want[4:])
        self.assertIsNone(last.next_page())
        self.assertEqual(sids(last.previous_page()), want[2:4])
        self.assertEqual(sids(second.previous_page()), want[:2])
        self.assertEqual(sids(challenges.page(page_size=2, page_token="DN" + want[1], page_number=1)), want[2:4])

    def test_list_empty(self):
        self.w.push()
        self.assertEqual(self.w.entity().challenges.list(), [])

    @rules(ClampPageSize=True)
    def test_list_page_size_clamped(self):
        want = self.w.ask_many(self.w.push(), 3)
        self.assertEqual(sids(self.w.entity().challenges.list(limit=1001)), want)  # sent as the page size
        self.assertEqual(self.w.last.json()["meta"]["page_size"], 1000)


class Update(Case):
    def test_update_push_approved(self):
        f = self.w.push()
        sid = self.w.ask(f)
        now = self.w.move("20s")
        payload = self.w.signed(f, sid, "approved")
        got = self.w.entity().challenges(sid).update_with_http_info(auth_payload=payload, metadata={"os": "Android"})
        self.assertEqual((got.data.status, got.data.date_responded), ("approved", now))
        self.assertEqual(got.data.metadata, {"os": "Android"})
        self.assertTrue(got.headers["Twilio-Verify-Challenge-Signature"])

    def test_update_push_denied(self):
        f = self.w.push()
        sid = self.w.ask(f)
        got = self.w.entity().challenges(sid).update(auth_payload=self.w.signed(f, sid, "denied"))
        self.assertEqual(got.status, "denied")
        self.assertIsNotNone(got.date_responded)

    def test_update_push_forged(self):
        f, other = self.w.push(), self.w.push()
        sid, second = self.w.ask(f), self.w.ask(f)
        for name, payload in (
            ("another key", self.w.signed(other, sid, "approved")),
            ("another challenge", self.w.signed(f, second, "approved")),
            ("no JWS", "approved"),
        ):
            with self.subTest(name):
                self.refused(403, 60324, self.w.entity().challenges(sid).update, auth_payload=payload)
        self.assertEqual(self.w.entity().challenges(sid).fetch().status, "pending")

    def test_update_totp_right_code(self):
        f = self.w.totp(8)
        made = self.w.entity().challenges.create(factor_sid=f.sid)
        got = self.w.entity().challenges(made.sid).update(auth_payload=self.w.code(f))
        self.assertEqual((got.status, got.date_responded), ("approved", self.w.now()))

    def test_update_totp_wrong_code(self):
        f = self.w.totp()
        challenge = self.w.entity().challenges(self.w.entity().challenges.create(factor_sid=f.sid).sid)
        self.refused(403, 60324, challenge.update, auth_payload=self.w.wrong(f))
        self.assertEqual(challenge.update(auth_payload=self.w.code(f)).status, "approved")

    @rules(RefuseReusedCode=True)
    def test_update_totp_code_reused(self):
        f = self.w.totp()
        self.w.move("1m")  # the code that verified the factor is none for a challenge
        challenges = self.w.entity().challenges
        first, second = (challenges.create(factor_sid=f.sid).sid for _ in range(2))
        challenges(first).update(auth_payload=self.w.code(f))
        self.refused(403, 60324, challenges(second).update, auth_payload=self.w.code(f))
        self.w.move("30s")
        challenges(second).update(auth_payload=self.w.code(f))

    def test_update_metadata(self):
        sid = self.w.ask(self.w.push())
        now = self.w.move("1s")
        metadata = {"os": "Android", "note": "<ü> & +"}
        got = self.w.entity().challenges(sid).update(metadata=metadata)
        self.assertEqual((got.status, got.date_updated, got.metadata), ("pending", now, metadata))
