"""What PyPI twilio makes of factors, entities, notifications and access tokens."""

from world import NONE, Case, Factor, new_key, proof

SECRET = "GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ"


class Resources(Case):
    def test_factor_push_life(self):
        key = new_key()
        params = self.w.push_params(key)
        made = self.w.entity().new_factors.create(**params, metadata={"os": "Any"})
        self.assertEqual((made.status, made.factor_type, made.metadata), ("unverified", "push", {"os": "Any"}))
        self.assertEqual(made.binding, {"alg": "ES256", "public_key": params["binding_public_key"]})
        config = made.config
        self.assertEqual((config["notification_platform"], config["app_id"], config["sdk_version"]), ("fcm", "com.example.app", "1.0"))
        self.assertTrue(config["credential_sid"])
        factor = self.w.entity().factors(made.sid)
        verified = factor.update_with_http_info(auth_payload=proof(key, made.sid))
        self.assertEqual(verified.data.status, "verified")
        self.assertTrue(verified.headers["Twilio-Verify-Factor-Signature"])
        token = "n" * 255
        factor.update(
            friendly_name="new phone",
            config_notification_token=token,
            config_sdk_version="2.0",
            config_notification_platform="apn",
        )
        got = factor.fetch()
        config = got.config
        self.assertEqual(got.friendly_name, "new phone")
        self.assertEqual((config["notification_token"], config["sdk_version"], config["notification_platform"]), (token, "2.0", "apn"))
        self.assertTrue(factor.delete())
        self.refused(404, 20404, factor.fetch)

    def test_factor_totp_life(self):
        made = self.w.entity().new_factors.create(
            friendly_name="app & co",
            factor_type="totp",
            binding_secret=SECRET,
            config_alg="sha256",
            config_time_step=60,
            config_skew=2,
            config_code_length=8,
        )
        self.assertEqual(made.config, {"alg": "sha256", "skew": 2, "code_length": 8, "time_step": 60})
        for part in ("otpauth://totp/", "app%20&%20co?", "secret=" + SECRET, "algorithm=SHA256", "digits=8", "period=60"):
            self.assertIn(part, made.binding["uri"])
        factor = self.w.entity().factors(made.sid)
        self.refused(403, 60311, factor.update, auth_payload="00000000")
        factor.update(config_alg="sha1", config_time_step=30, config_skew=1, config_code_length=6)
        verified = factor.update(auth_payload=self.w.code(Factor(made.sid, secret=SECRET)))
        self.assertEqual(verified.status, "verified")
        self.assertEqual(verified.config, {"alg": "sha1", "skew": 1, "code_length": 6, "time_step": 30})
        self.assertTrue(factor.delete())

    def test_factor_list_pages(self):
        want = [self.w.push().sid for _ in range(5)] + [self.w.totp().sid]
        before = self.w.calls("list_factors")
        factors = self.w.entity().factors.list(page_size=2)
        self.assertEqual([(f.sid, f.status) for f in factors], [(sid, "verified") for sid in want])
        self.assertEqual(self.w.calls("list_factors") - before, 3)

    def test_entity_life(self):
        made = self.w.entities().create(identity=self.w.identity)
        url = f"{self.w.url}/v2/Services/{self.w.service}/Entities/{self.w.identity}"
        self.assertEqual((made.identity, made.service_sid, made.url), (self.w.identity, self.w.service, url))
        self.assertEqual(made.links, {"factors": url + "/Factors", "new_factors": url + "/Factors", "challenges": url + "/Challenges"})
        got = self.w.entities()(self.w.identity).fetch()
        self.assertEqual((got.sid, got.date_created), (made.sid, self.w.now()))
        self.assertTrue(self.w.entities()(self.w.identity).delete())
        self.refused(404, 20404, self.w.entities()(self.w.identity).fetch)

    def test_entity_list_pages(self):
        names = ["user-0001", "user-0002", "user-0003", "user-0004", "user-0005"]
        for name in names:
            self.w.entities().create(identity=name)
        self.assertEqual([e.identity for e in self.w.entities().list(page_size=2)], names)
        self.assertEqual(self.w.calls("list_entities"), 3)

    def test_notification_sent_again(self):
        notifications = self.w.entity().challenges(self.w.ask(self.w.push())).notifications
        sent = notifications.create(ttl=0)
        self.assertEqual((sent.ttl, sent.priority, sent.sid[:2]), (0, "high", "NT"))
        self.assertEqual(notifications.create().ttl, 300)

    def test_access_token(self):
        """An app that holds no credentials enrols with it, for its own identity alone."""
        tokens = self.w.client.verify.v2.services(self.w.service).access_tokens
        made = tokens.create(identity=self.w.identity, factor_type="push", factor_friendly_name="phone", ttl=300)
        self.assertEqual(
            (made.ttl, made.entity_identity, made.factor_type, made.factor_friendly_name),
            (300, self.w.identity, "push", "phone"),
        )
        got = tokens(made.sid).fetch()
        self.assertEqual((got.token, got.url, got.ttl, got.date_created), (made.token, made.url, made.ttl, made.date_created))
        app = self.w.client_with("token", made.token)
        enrolled = self.w.entity(client=app).new_factors.create(**self.w.push_params(new_key()))
        self.assertEqual(enrolled.status, "unverified")
        other = self.w.entity("another-user", client=app)
        self.refused(403, 60313, other.new_factors.create, **self.w.push_params(new_key()))
        self.refused(404, 20404, tokens("YK" + NONE).fetch)

    def test_api_key(self):
        sid = self.w.ask(self.w.push())
        key = self.w.client_with(self.w.keySID, self.w.keySecret)
        self.assertEqual(self.w.entity(client=key).challenges(sid).fetch().account_sid, self.w.account)
        other = self.w.client_with(self.w.keySID, "another0secret")
        self.refused(401, 20003, self.w.entity(client=other).challenges(sid).fetch)
