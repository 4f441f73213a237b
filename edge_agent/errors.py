"""Why the agent refused something; one root for each reaction.

EdgeError
├── AccessError     AGT0xx  nothing is shown or changed
│   ├── AccessRefused, RolesMalformed, LookNotEntered
├── SettingsError   AGT1xx  stop at start
│   ├── SettingsMalformed, PolicyMalformed, PlacementUnknown
├── IntakeError     AGT2xx  drop one message, count it
│   ├── TopicUnknown, PayloadTooLarge, PayloadMalformed, FieldInvalid, FieldMissing,
│   │   FeedbackUnknown, RequestInvalid, ControlInvalid
├── StoreError      AGT3xx  data at risk: stop, or go on in memory and say so
│   ├── StoreUnavailable, StoreCorrupt, SchemaTooNew, DecisionUnknown, PeopleUnknown, LogSaysNothing,
│   │   SealFailed, ErasureFailed, SubjectUnknown
├── EgressError     AGT4xx  do not send
│   ├── EgressUndeclared, BudgetSpent, SwitchForbidden, SenderUnfit
├── RoundError      AGT5xx  skip the round
│   ├── RoundRefused, SuperLinkUnreachable, NodeRefused, TrainingFailed
├── BrokerError     AGT6xx  try again, and say why
│   ├── BrokerUnreachable, BrokerRefused
├── UpdateError     AGT7xx  keep the bundle that runs
│   ├── RegistryUnreachable, SignatureRejected, RollbackRefused, MetadataExpired,
│   │   BundleUnavailable, ProbeFailed, DiskFull, VersionForbidden, BundleUnfit, FleetForbidden,
│   │   AttestationRejected, RetrievalSlow, OversizeRefused, ApprovalMissing, TargetInvalid, DocumentUnfit
├── ChildError      AGT8xx  end the child process; the agent goes on
│   ├── FrameMalformed, ChildDied, ChildOverdue, ChildTooLarge
├── EnrolmentError  AGT90x  nothing on this device has changed
│   ├── TokenInvalid, CoordinatorUnknown, CoordinatorUnreachable, EnrolmentRefused
├── VisitError      AGT95x  do not show the page
│   ├── LinkInvalid, VisitRefused, PageUnknown, FormTooLarge
└── TelemetryError  AGT97x  nothing was told; the agent goes on
    ├── AgentSilent, TelemetryUnsent
"""

from typing import ClassVar

from firmware_configs.errors import EdgeError


class AccessError(EdgeError):
    code: ClassVar[str] = "AGT000"


class AccessRefused(AccessError):
    code: ClassVar[str] = "AGT001"


class RolesMalformed(AccessError):
    code: ClassVar[str] = "AGT002"


class LookNotEntered(AccessError):
    code: ClassVar[str] = "AGT003"


class SettingsError(EdgeError):
    code: ClassVar[str] = "AGT100"
    exit_status: ClassVar[int] = 2


class SettingsMalformed(SettingsError):
    code: ClassVar[str] = "AGT101"


class PolicyMalformed(SettingsError):
    code: ClassVar[str] = "AGT102"


class PlacementUnknown(SettingsError):
    code: ClassVar[str] = "AGT103"


class IntakeError(EdgeError):
    code: ClassVar[str] = "AGT200"


class TopicUnknown(IntakeError):
    code: ClassVar[str] = "AGT201"


class PayloadTooLarge(IntakeError):
    code: ClassVar[str] = "AGT202"


class PayloadMalformed(IntakeError):
    code: ClassVar[str] = "AGT203"


class FieldInvalid(IntakeError):
    code: ClassVar[str] = "AGT204"


class FieldMissing(IntakeError):
    code: ClassVar[str] = "AGT205"


class FeedbackUnknown(IntakeError):
    code: ClassVar[str] = "AGT206"


class RequestInvalid(IntakeError):
    code: ClassVar[str] = "AGT207"


class ControlInvalid(IntakeError):
    code: ClassVar[str] = "AGT208"


class StoreError(EdgeError):
    code: ClassVar[str] = "AGT300"


class StoreUnavailable(StoreError):
    code: ClassVar[str] = "AGT301"


class StoreCorrupt(StoreError):
    code: ClassVar[str] = "AGT302"


class SchemaTooNew(StoreError):
    code: ClassVar[str] = "AGT303"


class DecisionUnknown(StoreError):
    code: ClassVar[str] = "AGT304"


class LogSaysNothing(StoreError):
    code: ClassVar[str] = "AGT305"


class PeopleUnknown(StoreError):
    code: ClassVar[str] = "AGT306"


class SealFailed(StoreError):
    code: ClassVar[str] = "AGT307"


class ErasureFailed(StoreError):
    code: ClassVar[str] = "AGT308"


class SubjectUnknown(StoreError):
    code: ClassVar[str] = "AGT309"


class EgressError(EdgeError):
    code: ClassVar[str] = "AGT400"


class EgressUndeclared(EgressError):
    code: ClassVar[str] = "AGT401"


class BudgetSpent(EgressError):
    code: ClassVar[str] = "AGT402"


class SwitchForbidden(EgressError):
    code: ClassVar[str] = "AGT403"


class SenderUnfit(EgressError):
    code: ClassVar[str] = "AGT404"


class RoundError(EdgeError):
    code: ClassVar[str] = "AGT500"


class RoundRefused(RoundError):
    code: ClassVar[str] = "AGT501"


class SuperLinkUnreachable(RoundError):
    code: ClassVar[str] = "AGT502"


class NodeRefused(RoundError):
    code: ClassVar[str] = "AGT503"


class TrainingFailed(RoundError):
    code: ClassVar[str] = "AGT504"


class BrokerError(EdgeError):
    code: ClassVar[str] = "AGT600"


class BrokerUnreachable(BrokerError):
    code: ClassVar[str] = "AGT601"


class BrokerRefused(BrokerError):
    code: ClassVar[str] = "AGT602"


class UpdateError(EdgeError):
    code: ClassVar[str] = "AGT700"


class RegistryUnreachable(UpdateError):
    code: ClassVar[str] = "AGT701"


class SignatureRejected(UpdateError):
    code: ClassVar[str] = "AGT702"


class RollbackRefused(UpdateError):
    code: ClassVar[str] = "AGT703"


class MetadataExpired(UpdateError):
    code: ClassVar[str] = "AGT704"


class BundleUnavailable(UpdateError):
    code: ClassVar[str] = "AGT705"


class ProbeFailed(UpdateError):
    code: ClassVar[str] = "AGT706"


class DiskFull(UpdateError):
    code: ClassVar[str] = "AGT707"


class VersionForbidden(UpdateError):
    code: ClassVar[str] = "AGT708"


class BundleUnfit(UpdateError):
    code: ClassVar[str] = "AGT709"


class FleetForbidden(UpdateError):
    code: ClassVar[str] = "AGT710"


class AttestationRejected(UpdateError):
    code: ClassVar[str] = "AGT711"


class RetrievalSlow(UpdateError):
    code: ClassVar[str] = "AGT712"


class OversizeRefused(UpdateError):
    code: ClassVar[str] = "AGT713"


class ApprovalMissing(UpdateError):
    code: ClassVar[str] = "AGT714"


class TargetInvalid(UpdateError):
    code: ClassVar[str] = "AGT715"


class DocumentUnfit(UpdateError):
    code: ClassVar[str] = "AGT716"


class ChildError(EdgeError):
    code: ClassVar[str] = "AGT800"


class FrameMalformed(ChildError):
    code: ClassVar[str] = "AGT801"


class ChildDied(ChildError):
    code: ClassVar[str] = "AGT802"


class ChildOverdue(ChildError):
    code: ClassVar[str] = "AGT803"


class ChildTooLarge(ChildError):
    code: ClassVar[str] = "AGT804"


class EnrolmentError(EdgeError):
    code: ClassVar[str] = "AGT900"


class TokenInvalid(EnrolmentError):
    code: ClassVar[str] = "AGT901"
    exit_status: ClassVar[int] = 2


class CoordinatorUnknown(EnrolmentError):
    code: ClassVar[str] = "AGT902"


class CoordinatorUnreachable(EnrolmentError):
    code: ClassVar[str] = "AGT903"


class EnrolmentRefused(EnrolmentError):
    code: ClassVar[str] = "AGT904"


class VisitError(EdgeError):
    code: ClassVar[str] = "AGT950"


class LinkInvalid(VisitError):
    code: ClassVar[str] = "AGT951"


class VisitRefused(VisitError):
    code: ClassVar[str] = "AGT952"


class PageUnknown(VisitError):
    code: ClassVar[str] = "AGT953"


class FormTooLarge(VisitError):
    code: ClassVar[str] = "AGT954"


class TelemetryError(EdgeError):
    code: ClassVar[str] = "AGT970"


class AgentSilent(TelemetryError):
    code: ClassVar[str] = "AGT971"


class TelemetryUnsent(TelemetryError):
    code: ClassVar[str] = "AGT972"
