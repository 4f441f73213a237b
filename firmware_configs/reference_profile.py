"""A profile in which every table and every option occurs: the example behind the reference."""

from firmware_configs import profile as p


def _metric(name: str, measure: p.Measure, upper: float = 1.0) -> p.Metric:
    return p.Metric(
        name=name, placements=("next-pick",), measure=measure, lower=0.0, upper=upper, purposes=("personalise",)
    )


_CAUTIOUS = p.Level(name="cautious", policy=p.Threshold(minimum=0.4), models=(), slate=1)

REFERENCE = p.Profile(
    schema=1,
    name="reference",
    version="1.0.0",
    device=p.Device(class_="home-gateway", fleet="homes"),
    source=(
        p.Source(
            name="touch",
            topic="home/{device}/touch/#",
            critical=True,
            event_id="id",
            event_time="time",
            subject="user",
            late="side",
            field=(
                p.SourceField(name="item", type="text", category="user.behavior", purposes=("personalise",)),
                p.SourceField(
                    name="place",
                    type="text",
                    category="user.device",
                    purposes=("personalise", "recognise"),
                    transform=p.KeyedHash(rotate_days=30),
                ),
                p.SourceField(
                    name="account",
                    type="text",
                    category="user.device",
                    purposes=("recognise",),
                    transform=p.KeyedHash(),
                ),
                p.SourceField(
                    name="latitude",
                    path="position.latitude",
                    category="user.device",
                    purposes=("personalise",),
                    transform=p.CoarseLocation(cell_degrees=0.1),
                ),
                p.SourceField(
                    name="day", category="user.device", purposes=("personalise",), transform=p.TruncateTime(to="day")
                ),
            ),
        ),
        p.Source(
            name="air",
            topic="home/{device}/air",
            codec="zigbee2mqtt",
            field=(
                p.SourceField(
                    name="temperature",
                    category="user.sensor",
                    purposes=("comfort", "personalise"),
                    transform=p.Round(step=0.5),
                ),
                p.SourceField(
                    name="light",
                    category="user.sensor",
                    purposes=("comfort", "personalise"),
                    transform=p.Bucket(edges=(0.0, 50.0, 200.0, 800.0)),
                ),
            ),
        ),
    ),
    purpose=(
        p.Purpose(
            name="personalise",
            legal_basis="consent",
            consent="required",
            text="Your gateway remembers what you pick, here at home, and suggests what may suit you.",
        ),
        p.Purpose(
            name="recognise",
            legal_basis="consent",
            consent="required",
            text="Your gateway notices which of the devices here are yours, so that they agree with each other.",
        ),
        p.Purpose(
            name="comfort",
            legal_basis="contract",
            consent="not-needed",
            text="Your gateway reads the air and the light of a room to switch the lamp that you installed.",
        ),
    ),
    retention={
        "user.behavior": p.Retention(days=90.0),
        "user.device": p.Retention(days=30.0),
        "user.sensor": p.Retention(days=7.0),
    },
    identity=p.Identity(
        purposes=("recognise",),
        link=(p.CertainLink(name="account", kind="login", field="account"),),
        evidence=(
            p.Evidence(name="place", kind="same-value", field="place"),
            p.Evidence(
                name="turns",
                kind="hand-over",
                sources=("touch",),
                within_s=120.0,
                edges=(0.05, 0.2),
                same=(0.2, 0.3, 0.5),
                different=(0.75, 0.2, 0.05),
            ),
        ),
        apart=(p.Apart(name="elsewhere", field="place"),),
    ),
    model=(
        p.Model(
            name="affinity",
            versions=">=1.0,<2",
            purposes=("personalise",),
            federated=True,
            learn=(p.Learn(source="touch", item="item", label=1.0),),
            subgroups=p.Subgroups(segments=("recent",)),
        ),
    ),
    placement=(
        p.Placement(
            name="next-pick",
            trigger=p.OnEvent(source="touch", when="hour >= 6"),
            purposes=("personalise",),
            models=("affinity",),
            rule=(
                p.Rule(
                    name="not-the-same",
                    when="item == fields.item",
                    effect="deny",
                    reason="It was picked a moment ago.",
                ),
            ),
            policy=p.EpsilonGreedy(epsilon=0.1),
            experiment=p.Experiment(
                name="exploration",
                arms=(
                    p.Arm(name="control"),
                    p.Arm(name="thompson", policy=p.Thompson()),
                    p.Arm(name="gaussian", policy=p.ThompsonGaussian(half_life_rewards=500.0)),
                    p.Arm(name="optimistic", policy=p.LinUcb(epsilon=0.05)),
                    p.Arm(name="linear", policy=p.LinThompson()),
                    p.Arm(name="square", policy=p.SquareCb(half_life_s=604_800.0)),
                    p.Arm(name="greedy", policy=p.Best()),
                ),
                control="control",
                layer="ranking",
                position=0.0,
                share=0.5,
                starts="2026-12-01T00:00Z",
                ends="2027-03-01T00:00Z",
                metric=(
                    p.ExperimentMetric(name="reward"),
                    p.ExperimentMetric(name="dwell", role="guard", upper=600.0, margin=5.0),
                ),
                adaptive=p.Adaptive(),
            ),
            exploration=p.Exploration(
                share_per_day=0.2,
                decisions_per_day=50,
                loss_per_day=2.0,
                floor=0.5,
                baseline=0.9,
            ),
            no_outcome=0.0,
            cap=(p.Cap(count=20, per_s=86_400.0),),
            quiet_hours=p.QuietHours(start=22, end=7),
            reward=(p.Reward(outcome="click", value=1.0), p.Reward(outcome="dismiss", value=0.0)),
        ),
        p.Placement(
            name="remind",
            trigger=p.OnEvent(source="touch"),
            stability=p.Stability(switch_margin=0.05, hold_s=30.0),
            popular=p.Popular(),
            purposes=("personalise",),
            candidate=(p.Candidate(item="stretch"), p.Candidate(item="drink")),
            expiry_s=7_200.0,
            delivery=p.Delivery(
                channels=("phone", "mail", "panel"),
                theme="wellbeing",
                audience="shared",
                importance="low",
                stands_s=14_400.0,
                holds="fields.temperature > 15.0",
                moment=p.Moment(model="affinity", discount=0.05),
                title="A small break",
                text="How about this: {item}?",
            ),
        ),
        p.Placement(
            name="lamp",
            trigger=p.OnRequest(),
            purposes=("comfort",),
            candidate=(p.Candidate(item="on", score="0.5"), p.Candidate(item="off", score="0.4")),
            policy=p.Threshold(minimum=0.3),
            experiment=p.Experiment(
                name="lighting",
                factors=(
                    p.Factor(name="caution", levels=(p.Level(name="bold"), _CAUTIOUS)),
                    p.Factor(name="way", levels=(p.Level(name="silent"), p.Level(name="spoken", channel="voice"))),
                    p.Factor(name="choice", levels=(p.Level(name="both"), p.Level(name="one", items=("on", "off")))),
                ),
                generators=("choice = caution*way",),
            ),
            channel="light",
            actuator="lamp",
            fallback="off",
        ),
    ),
    egress=(
        p.Egress(kind="decision", purposes=("personalise", "comfort"), bytes_day_max=10_000_000),
        p.Egress(
            kind="update",
            destination="superlink",
            purposes=("personalise",),
            bytes_day_max=1_000_000,
            privacy=p.Privacy(clip_norm=1.0, noise_multiplier=0.0),
            k_min=10,
        ),
        p.Egress(
            kind="statistic",
            destination="superlink",
            purposes=("personalise",),
            bytes_day_max=100_000,
            privacy=p.Privacy(clip_norm=20.0, noise_multiplier=2.0, epsilon_max=4.0, secret_sum=True),
            k_min=50,
        ),
        p.Egress(
            kind="experiment",
            purposes=("personalise", "comfort"),
            bytes_day_max=100_000,
            privacy=p.Privacy(clip_norm=10.0, noise_multiplier=1.0, epsilon_max=2.0),
            k_min=50,
        ),
        p.Egress(kind="email", destination="smtp", purposes=("personalise",), bytes_day_max=100_000, fields=("day",)),
        p.Egress(kind="status", purposes=("comfort",), bytes_day_max=1_000_000),
        p.Egress(kind="rejection", purposes=("comfort",), bytes_day_max=100_000),
        p.Egress(kind="alert", purposes=("comfort",), bytes_day_max=100_000),
        p.Egress(kind="late-event", purposes=("personalise", "recognise"), bytes_day_max=100_000),
        p.Egress(kind="metric", purposes=("personalise",), bytes_day_max=100_000, k_min=10),
    ),
    actuator=(
        p.Actuator(
            name="lamp",
            topic="home/{device}/lamp/set",
            payloads={"on": "ON", "off": "OFF"},
            lasts_s={"off": 5.0},
            limit=(
                p.ActuatorLimit(
                    name="not-when-hot",
                    never="item == 'on' && fields.temperature > 60.0",
                    reason="The lamp's holder must not get hotter.",
                ),
            ),
        ),
    ),
    channel=(
        p.Channel(
            name="phone",
            kind="in-app",
            priority=80,
            cap=(p.ContactCap(count=4, local_day=True),),
            do_not_disturb=(
                p.DoNotDisturb(when="fields.light < 50.0 && hour >= 20", reason="It is dark: somebody sleeps."),
            ),
        ),
        p.Channel(name="mail", kind="email", adapter="smtp", cost=0.1, quiet_hours=p.QuietHours(start=21, end=8)),
        p.Channel(
            name="panel",
            kind="display",
            topic="home/{device}/panel",
            payload="text",
            retain=True,
            audience="shared",
            exclusive=True,
        ),
    ),
    theme=(p.Theme(name="wellbeing", cap=(p.ContactCap(count=3, per_s=86_400.0),)),),
    contact=p.Contact(
        cap=(p.ContactCap(count=10, per_s=86_400.0),),
        low=(p.ContactCap(count=2, per_s=86_400.0),),
        quiet_hours=p.QuietHours(start=22, end=7),
        critical_passes=("quiet-hours",),
        zone_field="place",
    ),
    sensitive=p.Sensitive(forbidden_categories=("user.health_and_medical",), forbidden_purposes=("resale",)),
    experiments=p.Experiments(holdout=0.02, layer=(p.Layer(name="ranking", holdout=0.05),)),
    view=(
        p.View(
            source="touch",
            placements=("next-pick",),
            start="fields.item == 'seen'",
            end="fields.item == 'gone'",
            item="item",
        ),
    ),
    outcome=(
        p.Outcome(
            name="picked",
            source="touch",
            when="fields.item != 'gone'",
            purposes=("personalise",),
            credit=(p.Creditable(placement="next-pick", window_s=3_600.0, item="item", seen=True),),
            attribution=p.TimeDecay(half_life_s=600.0),
            paths="channel",
        ),
        p.Outcome(
            name="warmed",
            source="air",
            value_field="temperature",
            value_max=40.0,
            purposes=("comfort",),
            credit=(p.Creditable(placement="lamp"), p.Creditable(placement="next-pick")),
            attribution=p.PositionBased(first=0.4, last=0.4),
            reward=False,
        ),
    ),
    metric=(
        _metric("dwell", p.Dwell(cap_s=120.0), upper=600.0),
        _metric("click-through", p.Rate(outcomes=("click",))),
        _metric("time-to-pick", p.TimeTo(outcomes=("picked",), window_s=3_600.0), upper=3_600.0),
        _metric("worth", p.Worth(outcomes=("warmed",)), upper=40.0),
        _metric("back-after-a-week", p.ReturnVisit(source="touch", day=7)),
        _metric("lifetime-picks", p.LifetimeValue(source="touch"), upper=1_000.0),
    ),
    segment=(
        p.Segment(name="at-night", when="hour < 6"),
        p.Segment(name="recent", when="features.recent_items[0] > 0.0"),
        p.Segment(name="by-model", model="affinity"),
    ),
    objective=(
        p.Objective(name="quick", indicator="latency", placement="next-pick", within_ms=80.0),
        p.Objective(name="by-model", indicator="fallback", placement="next-pick", target=0.95),
        p.Objective(name="rounds", indicator="rounds", target=0.9, bad_min=2),
    ),
    drift=(
        p.DriftDetector(name="scores", watch="prediction", placement="next-pick", test="ks", fleet=True),
        p.DriftDetector(name="rewards", watch="reward", placement="next-pick", test="adwin"),
    ),
    controller=p.Controller(
        name="The household at 1 Example Street",
        contact="privacy@example.org",
        officer="officer@example.org",
        authority="the data protection authority of your country",
        country="DE",
    ),
    people=p.People(groups=("people of the household", "their guests"), children="possible", guardian=True),
    approval=p.Approval(version="1.0.0", people=("the officer", "the engineer"), reason="The first version."),
)
