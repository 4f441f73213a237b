"""A profile in which every table and every option occurs: the example behind the reference."""

from firmware_configs import profile as p

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
                    purposes=("personalise",),
                    transform=p.KeyedHash(rotate_days=30),
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
                    purposes=("comfort",),
                    transform=p.Round(step=0.5),
                ),
                p.SourceField(
                    name="light",
                    category="user.sensor",
                    purposes=("comfort",),
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
    model=(
        p.Model(
            name="affinity",
            versions=">=1.0,<2",
            purposes=("personalise",),
            federated=True,
            learn=(p.Learn(source="touch", item="item", label=1.0),),
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
                    p.Arm(name="greedy", policy=p.Best()),
                ),
                share=0.5,
            ),
            cap=(p.Cap(count=20, per_s=86_400.0),),
            quiet_hours=p.QuietHours(start=22, end=7),
            reward=(p.Reward(outcome="click", value=1.0), p.Reward(outcome="dismiss", value=0.0)),
        ),
        p.Placement(
            name="lamp",
            trigger=p.OnRequest(),
            purposes=("comfort",),
            candidate=(p.Candidate(item="on", score="0.5"), p.Candidate(item="off", score="0.4")),
            policy=p.Threshold(minimum=0.3),
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
        p.Egress(kind="status", purposes=("comfort",), bytes_day_max=1_000_000),
        p.Egress(kind="rejection", purposes=("comfort",), bytes_day_max=100_000),
        p.Egress(kind="late-event", purposes=("personalise",), bytes_day_max=100_000),
    ),
    actuator=(p.Actuator(name="lamp", topic="home/{device}/lamp/set", payloads={"on": "ON", "off": "OFF"}),),
    sensitive=p.Sensitive(forbidden_categories=("user.health_and_medical",), forbidden_purposes=("resale",)),
)
