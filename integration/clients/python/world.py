"""A world is one emulator with a clock that only its test moves, and the client."""

import base64
import hashlib
import hmac
import json
import os
import struct
import unittest
import urllib.request
from datetime import datetime, timedelta, timezone

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from twilio.base.exceptions import TwilioRestException
from twilio.http.http_client import TwilioHttpClient
from twilio.rest import Client

NONE = "0" * 32  # behind a prefix: nothing has it


def call(method, url, body=None):
    request = urllib.request.Request(url, method=method, data=None if body is None else json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=30) as response:
        text = response.read()
    return json.loads(text) if text else None


class Factor:
    def __init__(self, sid, key=None, secret=None, digits=6):
        self.sid, self.key, self.secret, self.digits = sid, key, secret, digits


class World:
    def __init__(self, rules):
        self.__dict__.update(call("POST", os.environ["CONTROL"] + "/worlds", rules))
        self.control = f"{os.environ['CONTROL']}/worlds/{self.id}"
        self.last = None  # the answer before, as it came over the wire
        self.sessions = []
        self.client = self.client_as(self.token)

    def client_as(self, token, **options):
        """Returns the client of whoever has this auth token."""
        return self.client_with(self.account, token, **options)

    def client_with(self, user, password, **options):

        def keep(response, *args, **kwargs):
            self.last = response

        http = TwilioHttpClient(request_hooks={"response": keep}, **options)
        self.sessions.append(http.session)
        client = Client(user, password, account_sid=self.account, http_client=http)
        client.verify.base_url = self.url
        return client

    def close(self):
        for session in self.sessions:
            session.close()
        call("DELETE", self.control)

    def move(self, by):
        """Moves the clock, and tells it."""
        now = call("POST", f"{self.control}/clock?by={by}")["now"]
        return datetime.fromtimestamp(now, timezone.utc)

    def now(self):
        return self.move("0s")

    def faults(self, **faults):
        call("POST", self.url + "/_emulator/faults", faults)

    def script(self, operation, faults):
        call("POST", f"{self.control}/script?operation={operation}", faults)

    def calls(self, operation):
        return call("GET", self.url + "/_emulator/stats")["calls"].get(operation, 0)

    def created(self):
        return call("GET", self.url + "/_emulator/created")["created"]

    def entity(self, identity=None, client=None):
        return (client or self.client).verify.v2.services(self.service).entities(identity or self.identity)

    def entities(self):
        return self.client.verify.v2.services(self.service).entities

    def push_params(self, key):
        der = key.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
        return {
            "friendly_name": "phone",
            "factor_type": "push",
            "binding_alg": "ES256",
            "binding_public_key": base64.b64encode(der).decode(),
            "config_app_id": "com.example.app",
            "config_notification_platform": "fcm",
            "config_notification_token": "t" * 32,
            "config_sdk_version": "1.0",
        }

    def push(self, **more):
        """Enrols a phone."""
        key = new_key()
        made = self.entity().new_factors.create(**{**self.push_params(key), **more})
        self.entity().factors(made.sid).update(auth_payload=proof(key, made.sid))
        return Factor(made.sid, key=key)

    def totp(self, digits=None):
        """Enrols an authenticator app."""
        more = {"config_code_length": digits} if digits else {}
        made = self.entity().new_factors.create(friendly_name="app", factor_type="totp", **more)
        factor = Factor(made.sid, secret=made.binding["secret"], digits=digits or 6)
        self.entity().factors(made.sid).update(auth_payload=self.code(factor))
        return factor

    def code(self, factor, late=0):
        at = self.now() + timedelta(seconds=late)
        return code(factor.secret, hashlib.sha1, 30, factor.digits, at)

    def wrong(self, factor):
        """Returns a code that is not right, nor within the skew."""
        right = [self.code(factor, late) for late in (-30, 0, 30)]
        return next(c * factor.digits for c in "0123456789" if c * factor.digits not in right)

    def ask(self, factor):
        return self.entity().challenges.create(factor_sid=factor.sid, details_message="Sign in?").sid

    def ask_many(self, factor, n):
        """Makes challenges, a second apart."""
        sids = []
        for _ in range(n):
            sids.append(self.ask(factor))
            self.move("1s")
        return sids

    def signed(self, factor, sid, status):
        """Returns the phone's answer to a challenge."""
        self.entity().challenges(sid).fetch()
        body = self.last.json()
        names = self.last.headers["Twilio-Verify-Signature-Fields"].split(",")
        claims = {name: body[name] for name in names}
        claims["status"] = status
        return jwt.encode(claims, factor.key, algorithm="ES256")


def new_key():
    return ec.generate_private_key(ec.SECP256R1())


def proof(key, sid):
    """Shows that the phone holds its key: a DER signature over the factor's SID."""
    return base64.b64encode(key.sign(sid.encode(), ec.ECDSA(hashes.SHA256()))).decode()


def code(secret, alg, step, digits, at):
    """Returns the code of RFC 6238."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8))
    mac = hmac.new(key, struct.pack(">Q", int(at.timestamp()) // step), alg).digest()
    number = struct.unpack(">I", mac[mac[-1] & 15 :][:4])[0] & 0x7FFFFFFF
    return str(number % 10**digits).zfill(digits)


def rules(**switches):
    """Gives a test's world these rules of the emulator."""

    def set_on(test):
        test.rules = switches
        return test

    return set_on


class Case(unittest.TestCase):
    """A test in a world of its own."""

    maxDiff = None

    def setUp(self):
        self.w = World(getattr(getattr(self, self._testMethodName), "rules", {}))
        self.addCleanup(self.w.close)

    def shortDescription(self):
        return None  # a case is told by its name, on one line

    def refused(self, status, code, call, *args, **kwargs):
        """Expects the client's own error with all that the API words one by."""
        with self.assertRaises(TwilioRestException) as caught:
            call(*args, **kwargs)
        error = caught.exception
        self.assertEqual((error.status, error.code), (status, code), error.msg)
        self.assertTrue(error.msg)
        # This client keeps no more_info; it makes the same address of the code.
        self.assertEqual(self.w.last.json()["more_info"], f"https://www.twilio.com/docs/errors/{code}")
        return error
