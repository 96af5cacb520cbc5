"""Every error of the API, and of the way to it, as PyPI twilio words it."""

import base64
import json
from datetime import timedelta

import requests
from twilio.base.exceptions import TwilioException, TwilioRestException, TwilioServiceException

from world import NONE, Case, Factor, new_key, rules


class Errors(Case):
    def create(self, **params):
        return self.w.entity().challenges.create(**params)

    def test_error_20003_credentials(self):
        other = self.w.client_as("another0token")
        self.refused(401, 20003, self.w.entity(client=other).challenges("YC" + NONE).fetch)

    def test_error_20404_not_found(self):
        self.w.push()
        error = self.refused(404, 20404, self.w.entity().challenges("YC" + NONE).fetch)
        self.assertIn(f"/Services/{self.w.service}/Entities/{self.w.identity}/Challenges/YC{NONE}", error.msg)
        self.assertEqual((error.method, error.uri), ("GET", f"/Services/{self.w.service}/Entities/{self.w.identity}/Challenges/YC{NONE}"))
        self.refused(404, 20404, self.w.entity().challenges("YC" + NONE).update, auth_payload="123456")
        self.refused(404, 20404, self.create, factor_sid="YF" + NONE, details_message="m")
        with self.assertRaises(TwilioException) as caught:  # of a page this client keeps the answer only
            self.w.entity("nobody-0001").challenges.list()
        self.assertNotIsInstance(caught.exception, TwilioRestException)
        self.assertEqual(self.w.last.json()["code"], 20404)

    @rules(SpecificNotFound=True)
    def test_error_60390_60391_60392_not_found(self):
        self.w.push()
        self.refused(404, 60390, self.create, factor_sid="YF" + NONE, details_message="m")
        self.refused(404, 60390, self.w.entity().factors("YF" + NONE).fetch)
        self.refused(404, 60391, self.w.entity().challenges("YC" + NONE).fetch)
        self.refused(404, 60392, self.w.entity("nobody-0001").fetch)

    def test_error_60306_create(self):
        push, app, now = self.w.push().sid, self.w.totp().sid, self.w.now()
        field = {"label": "l", "value": "v"}
        for name, params in {
            "factor SID": {"factor_sid": "YF12"},
            "no message": {"details_message": ""},
            "message of 257": {"details_message": "ü" * 257},
            "21 fields": {"details_fields": [field] * 21},
            "label of 37": {"details_fields": [{"label": "l" * 37, "value": "v"}]},
            "value of 129": {"details_fields": [{"label": "l", "value": "v" * 129}]},
            "field without a value": {"details_fields": [{"label": "l"}]},
            "61 minutes": {"expiration_date": now + timedelta(minutes=61)},
            "expired at once": {"expiration_date": now},
            "hidden number": {"hidden_details": {"n": 1}},
            "hidden text": {"hidden_details": "no object"},
            "hidden 1025": {"hidden_details": {"k": "v" * (1025 - 9)}},  # this client's JSON has a space behind a colon
            "code for push": {"auth_payload": "123456"},
            "code of 2": {"factor_sid": app, "auth_payload": "12"},
            "code of 9": {"factor_sid": app, "auth_payload": "123456789"},
        }.items():
            with self.subTest(name):
                self.refused(400, 60306, self.create, **{"factor_sid": push, "details_message": "m", **params})
        self.assertEqual(self.w.created(), [])
        for params in (
            {"details_message": "ü" * 256},
            {"details_fields": [field] * 20},
            {"details_fields": [{"label": "l" * 36, "value": "v" * 128}]},
            {"expiration_date": now + timedelta(minutes=60)},
            {"hidden_details": {"k": "v" * (1024 - 9)}},
            {"hidden_details": '{"ip":"10.0.0.1"}'},  # a text goes as it is
            {"factor_sid": app, "auth_payload": "123"},
        ):
            self.create(**{"factor_sid": push, "details_message": "m", **params})

    def test_error_60306_update(self):
        sid = self.w.ask(self.w.push())
        second = self.create(factor_sid=self.w.totp().sid).sid
        for name, on, params in (
            ("nothing", sid, {}),
            ("payload of 5457", sid, {"auth_payload": "x" * 5457}),
            ("code of 2", second, {"auth_payload": "12"}),
            ("code of 9", second, {"auth_payload": "123456789"}),
            ("metadata of 1025", sid, {"metadata": {"k": "v" * (1025 - 9)}}),
            ("metadata number", sid, {"metadata": {"n": 1}}),
        ):
            with self.subTest(name):
                self.refused(400, 60306, self.w.entity().challenges(on).update, **params)
        self.refused(403, 60324, self.w.entity().challenges(sid).update, auth_payload="x" * 5456)  # long enough to be looked at

    def test_error_60306_list(self):
        """Of a page this client keeps no more than that it could not be had."""
        self.w.push()
        for options in (
            {"page_size": 1001},
            {"page_size": 0},
            {"factor_sid": "YF12"},
            {"status": "lost"},
            {"order": "sideways"},
            {"page_token": "x"},
            {"page_token": "DNYC" + NONE},
            {"page_number": -1},
        ):
            with self.subTest(**options):
                with self.assertRaises(TwilioException):
                    self.w.entity().challenges.page(**options)
                self.assertEqual((self.w.last.status_code, self.w.last.json()["code"]), (400, 60306))
        with self.assertRaises(TwilioException):
            self.w.entity().challenges.list(limit=1001)  # sent as the page size

    def test_error_60306_names(self):
        self.w.push()

        def fetch(service, identity, sid):
            return self.w.client.verify.v2.services(service).entities(identity).challenges(sid).fetch()

        self.refused(400, 60306, fetch, "VA12", self.w.identity, "YC" + NONE)
        self.refused(400, 60306, fetch, self.w.service, "short", "YC" + NONE)
        self.refused(400, 60306, fetch, self.w.service, "x" * 65, "YC" + NONE)
        self.refused(400, 60306, fetch, self.w.service, self.w.identity, "YC12")
        self.refused(400, 60306, self.w.entities().create, identity="jane@example.com")

    def test_error_factor_parameters(self):
        push = self.w.push_params(new_key())
        totp = {"friendly_name": "app", "factor_type": "totp"}
        for name, code, params in (
            ("no name", 20001, {**totp, "friendly_name": ""}),
            ("name of 65", 60306, {**totp, "friendly_name": "n" * 65}),
            ("type", 60369, {**totp, "factor_type": "sms"}),
            ("key", 60314, {**push, "binding_public_key": base64.b64encode(b"no key").decode()}),
            ("algorithm", 60314, {**push, "binding_alg": "RS256"}),
            ("secret", 60314, {**totp, "binding_secret": "not Base32"}),
            ("token of 31", 60306, {**push, "config_notification_token": "t" * 31}),
            ("platform", 60306, {**push, "config_notification_platform": "wns"}),
            ("app of 101", 60306, {**push, "config_app_id": "a" * 101}),
            ("time step 19", 60306, {**totp, "config_time_step": 19}),
            ("time step 61", 60306, {**totp, "config_time_step": 61}),
            ("skew 3", 60306, {**totp, "config_skew": 3}),
            ("code length 9", 60306, {**totp, "config_code_length": 9}),
            ("alg", 60306, {**totp, "config_alg": "md5"}),
            ("metadata", 60306, {**totp, "metadata": {"n": 1}}),
        ):
            with self.subTest(name):
                self.refused(400, code, self.w.entity().new_factors.create, **params)
        tokens = self.w.client.verify.v2.services(self.w.service).access_tokens
        self.refused(400, 60305, tokens.create, identity=self.w.identity, factor_type="totp")

    def test_error_60301_entity_exists(self):
        self.w.entities().create(identity=self.w.identity)
        self.refused(409, 60301, self.w.entities().create, identity=self.w.identity.upper())

    def test_error_60315_factor_count(self):
        create = self.w.entity().new_factors.create
        for _ in range(20):
            create(**self.w.push_params(new_key()))
        self.refused(400, 60315, create, **self.w.push_params(new_key()))

    def test_error_60317_factor_exists(self):
        params = self.w.push_params(new_key())
        self.w.entity().new_factors.create(**params)
        self.refused(409, 60317, self.w.entity().new_factors.create, **params)

    def test_error_60318_unverified(self):
        made = self.w.entity().new_factors.create(**self.w.push_params(new_key()))
        self.refused(403, 60318, self.create, factor_sid=made.sid, details_message="m")

    def test_error_60322_responded(self):
        f = self.w.push()
        sid = self.w.ask(f)
        payload = self.w.signed(f, sid, "approved")
        challenge = self.w.entity().challenges(sid)
        challenge.update(auth_payload=payload)
        self.refused(403, 60322, challenge.update, auth_payload=payload)
        self.refused(403, 60322, challenge.update, metadata={"os": "Any"})

    def test_error_60323_expired(self):
        f = self.w.push()
        sid = self.w.ask(f)
        payload = self.w.signed(f, sid, "approved")
        self.w.move("5m")
        self.refused(403, 60323, self.w.entity().challenges(sid).update, auth_payload=payload)

    def test_error_60308_challenge_attempts(self):
        f = self.w.totp()
        challenge = self.w.entity().challenges(self.create(factor_sid=f.sid).sid)
        for _ in range(5):
            self.refused(403, 60324, challenge.update, auth_payload=self.w.wrong(f))
        self.refused(429, 60308, challenge.update, auth_payload=self.w.code(f))

    def test_error_60309_notifications(self):
        notifications = self.w.entity().challenges(self.w.ask(self.w.push())).notifications
        for _ in range(3):
            notifications.create()
        self.refused(429, 60309, notifications.create)
        self.refused(400, 60306, notifications.create, ttl=301)
        silent = self.w.push(config_notification_platform="none")
        self.refused(400, 60307, self.w.entity().challenges(self.w.ask(silent)).notifications.create)

    def test_error_60310_factor_attempts(self):
        made = self.w.entity().new_factors.create(friendly_name="app", factor_type="totp")
        f = Factor(made.sid, secret=made.binding["secret"])
        factor = self.w.entity().factors(f.sid)
        for _ in range(5):
            self.refused(403, 60311, factor.update, auth_payload=self.w.wrong(f))
        self.refused(429, 60310, factor.update, auth_payload=self.w.code(f))

    @rules(CreationLimits=True)
    def test_error_60312_creation_limit(self):
        for digits, most in ((4, 10), (5, 50)):
            f = self.w.totp(digits)
            for _ in range(most):
                self.create(factor_sid=f.sid)
            self.refused(429, 60312, self.create, factor_sid=f.sid)

    def test_error_20429_throttled(self):
        challenge = self.w.entity().challenges(self.w.ask(self.w.push()))
        self.w.faults(operations=["fetch"], throttle_rate=1, retry_after="3s")
        self.refused(429, 20429, challenge.fetch)
        self.assertEqual(self.w.last.headers["Retry-After"], "3")
        self.assertEqual(self.w.calls("fetch"), 1)  # twilio-python repeats nothing

    def test_error_5xx(self):
        challenge = self.w.entity().challenges(self.w.ask(self.w.push()))
        for status, code in ((500, 20500), (503, 20503)):
            self.w.faults(operations=["fetch"], server_error_rate=1, server_error_status=status)
            self.refused(status, code, challenge.fetch)
        self.w.faults(operations=["fetch"], server_error_rate=1, server_error_status=502)  # a gateway's page
        with self.assertRaises(TwilioRestException) as caught:
            challenge.fetch()
        self.assertEqual((caught.exception.status, caught.exception.code), (502, 502))  # the status stands in for a code

    @rules(ProblemErrors=True)
    def test_error_problem_body(self):
        """Errors in the words of RFC 9457 have a class of their own."""
        f = self.w.push()
        sid = self.w.ask(f)
        for status, code, call, params in (
            (400, 60306, self.create, {"factor_sid": f.sid, "details_message": "m" * 257}),
            (404, 20404, self.w.entity().challenges("YC" + NONE).fetch, {}),
            (403, 60324, self.w.entity().challenges(sid).update, {"auth_payload": "a.b.c"}),
        ):
            with self.subTest(code=code):
                with self.assertRaises(TwilioServiceException) as caught:
                    call(**params)
                error = caught.exception
                self.assertEqual((error.status, error.code, error.type), (status, code, f"https://www.twilio.com/docs/errors/{code}"))
                self.assertTrue(error.title and error.detail)

    def test_error_garbled_answer(self):
        """The challenge is made, and no client can know it."""
        f = self.w.push()
        self.w.faults(garbled_rate=1)
        with self.assertRaises(json.JSONDecodeError):
            self.create(factor_sid=f.sid, details_message="m")
        self.assertEqual(len(self.w.created()), 1)

    def test_error_connection_reset(self):
        challenge = self.w.entity().challenges(self.w.ask(self.w.push()))
        self.w.faults(operations=["fetch"], reset_after_rate=1)
        with self.assertRaises(requests.exceptions.ConnectionError) as caught:
            challenge.fetch()
        self.assertNotIsInstance(caught.exception, requests.exceptions.Timeout)

    def test_error_timeout(self):
        sid = self.w.ask(self.w.push())
        self.w.faults(operations=["fetch"], latency={"fixed": "1h"})
        hasty = self.w.client_as(self.w.token, timeout=0.2)
        with self.assertRaises(requests.exceptions.ReadTimeout):
            self.w.entity(client=hasty).challenges(sid).fetch()

    def test_error_in_the_middle_of_a_list(self):
        """What was streamed before it is not lost, and the end is told."""
        want = self.w.ask_many(self.w.push(), 5)
        self.w.script("list", ["none", "server_error"])
        got = []
        with self.assertRaises(TwilioException):
            for item in self.w.entity().challenges.stream(page_size=2):
                got.append(item.sid)
        self.assertEqual(got, want[:2])
        self.assertEqual((self.w.last.status_code, self.w.last.json()["code"]), (500, 20500))
