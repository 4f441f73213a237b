"""Every bound of the agent, named. What is not here is bounded by the profile."""

PAYLOAD_BYTES_MAX = 262_144
"""Largest MQTT payload that is decoded, bytes."""
DEPTH_MAX = 16
"""Deepest nesting of a payload."""
KEYS_MAX = 512
"""Most keys and list entries in a payload."""
TEXT_MAX = 512
"""Longest text field kept, characters."""
ID_MAX = 256
"""Longest event id or subject, characters."""
TOPIC_CACHE_MAX = 4_096
"""Wildcard matches remembered."""

DEDUPE_MAX = 100_000
"""Event ids remembered."""
EVICTED_SHARE = 64
"""A full cache lets go of one entry in so many at once."""
DEDUPE_MS = 7 * 86_400_000
"""How long an event id is remembered, ms: a broker's longest offline queue that we promise to absorb."""

CAPS_MS = 30 * 86_400_000
"""How long the times of decisions are kept for frequency caps, ms."""

FUTURE_MS_MAX = 300_000
"""Event time may run ahead of the wall clock by this much, ms; beyond, arrival time is used."""
SESSION_GAP_MS = 1_800_000
"""A subject silent for this long starts a new session, ms."""
SUBJECTS_MAX = 20_000
"""Subjects whose caps and last decisions are in memory; further ones are read from the store when they are needed."""
PROFILES_SHARE = 0.125
"""Of [device] memory_mib_max, for hot profiles; colder ones are read from the store when they are needed."""
PROFILES_MIN = 64
"""Profiles held as objects, however little memory there is."""
PROFILES_OPEN_MAX = 512
"""Profiles held as objects; the others in memory are held as they are stored."""
PROFILES_OPEN_SHARE = 0.125
"""Of the memory for profiles, for those that are held as objects."""
MIB = 1_048_576
PRESENT_MAX = 256
"""People whose newest event counts for `others-present`; more than twice as many as a bundle may ask for."""
WINDOW_BUCKETS = 32
"""Buckets of a sliding window: a count is exact to a 32nd of the window."""

CANDIDATES_MAX = 10_000
"""Most candidates of one decision."""
SCORED_MAX = 64
"""Candidates up to which a trail keeps all scores where the policy explores, so that others can be evaluated."""
GRID = 512
"""Cells of the grid on which the probabilities of Thompson sampling are summed."""
CONTENDERS_MAX = 256
"""Candidates that Thompson sampling draws from at once: the most promising of those that might be best."""
ARMS_MAX = 256
"""Candidates of one decision for which a linear policy asks its regressions: those with the best model scores."""
ARMS_HOT_BYTES = 8 * MIB
"""Of regressions in memory for each linear policy; further ones are read from the store when they are needed."""
COLUMNS_LEARNED_MAX = 128
"""Most feature columns that a linear policy learns on: a regression costs 16 bytes for each pair of them."""
REFACTOR_EVERY = 1_024
"""Rewards after which a regression's inverse is computed afresh, so that rounding does not add up."""
SCALE_SEEN_MAX = 1_024
"""Rows after which the scale of a linear policy's features stands still."""
HALVINGS_MAX = 1.0
"""Half-lives that a silence counts for at most, however long it was."""
PENDING_MAX = 16_384
"""Decisions of a placement that may wait for an outcome; the oldest are closed before their window is over."""
RECENT_DECISIONS_MAX = 512
"""Decisions kept in memory for feedback that comes at once."""
POPULAR_MAX = 256
"""Popular items remembered for each placement."""
WITHHELD_MAX = 20
"""Times that nothing was decided, remembered for each placement."""
CAPS_MAX = 64
"""Largest count of a frequency cap."""

REJECTION_EVERY_MS = 60_000
"""A rejection is published at most this often for each code and source, ms."""
SWEEP_EVERY_MS = 60_000
"""How often expired state is dropped, ms."""
OUTBOX_MAX = 50_000
"""Messages that may wait for the broker; then what `egress.outbox.evicted` says goes first."""
OUTBOX_SLACK = 2_500
"""How many more may come before the surplus is given up, so that it is done rarely."""
DRAIN_PER_S = 1_000
"""Messages of a backlog that leave in a second after an outage; what is new is not held back by it."""
DRAIN_BURST = 256
"""Messages of a backlog that may leave at once."""
DAY_MS = 86_400_000

PRESSURE_TURNS = 4
"""Full batches in a row after which more comes than can be taken."""

TOUCHES_MAX = 32
"""Decisions of a subject that may still be credited or observed; then the oldest is watched no longer."""
PATH_MAX = 8
"""Longest path that is counted: the newest steps."""
PATHS_MAX = 256
"""Different paths counted for an outcome; what comes beyond is counted together."""
CLOCKS_AGREE_MS = 2_000
"""How far the clocks of two devices in one home may be apart, ms: an outcome may seem to come before its decision."""
LATENESS_MS_MAX = 86_400_000
"""Longest that a window is held open for events that may still come, ms."""
CLOSED_MAX = 256
"""Subjects whose windows are closed in one tick; the others follow with the next."""
DELIVERIES_MAX = 1_024
"""Messages that wait for their moment or may still be taken back; beyond, what matters least is let go."""
LETTERS_MAX = 256
"""E-mails and pushes that wait to be sent; beyond, what matters least is given up."""
LETTERS_SENT_MAX = 16
"""Letters that one sender process takes along."""
LETTER_RETRY_MS_MIN = 15_000
"""First wait before a letter is tried again, ms, about."""
LETTER_RETRY_MS_MAX = 3_600_000
"""Longest wait before a letter is tried again, ms, about."""
DELIVERY_LOOK_MS = 10_000
"""How often the reason of a message and its channels are looked at when nothing else calls for it, ms."""
DRIFT = "drift:"
"""Of keys of the room `meta`: what drift detectors hold."""
