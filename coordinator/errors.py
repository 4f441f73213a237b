"""Why the coordinator refused something; one root for each reaction.

EdgeError
├── CoordinatorError   CRD1xx  the command cannot be done as asked
│   ├── NotRunning, PortTaken, ChildFailed, UnknownDevice, UnknownBundle, KeyInvalid, DeviceTaken,
│   │   AlreadyRunning, AttributionRefused, PlotFailed, BackupRefused, BackupDamaged, BackupFailed, HomeUnreadable,
│   │   HomeTooNew, CapacityInvalid
├── RoundError         CRD2xx  the round is abandoned; nothing is published
│   ├── TooFewReports, RoundStateInvalid, AggregationFailed, PrivacyRefused, FlowerFailed, BudgetInvalid,
│   │   RunUnfinished, RunInterrupted, UnknownRun, CheckpointDamaged, RoundFileInvalid, StrategyRefused
├── RegistryError      CRD3xx  nothing is published
│   ├── VersionTaken, VersionStale, NameInvalid, RegistryMissing, RegistryThere, SignaturesMissing,
│   │   RegistryKeyInvalid, ChangePending, AttestationInvalid, RegistryDamaged, UnknownDocument
├── ExperimentError    CRD4xx  nothing is told of the experiment, and nothing is spent
│   ├── UnknownExperiment, TooFewDevices, NothingReleased, NotDeclared
├── RolloutError       CRD5xx  no device is asked for anything that the error names
│   ├── PlanUnreadable, PlanMalformed, PlanInconsistent, PlanUnfit,
│   │   UnknownRollout, RolloutStateInvalid, RolloutTaken, LogDamaged
├── FleetError         CRD7xx  nothing of the fleet has changed
│   ├── RevisionConflict, SelectionInvalid, TagInvalid, WindowInvalid, BrokerUnfit
│   └── EnrolmentRefused    CRD71x  the device is not let in
│       ├── TokenUnknown, TokenExpired, TokenUsed, TooManyAttempts, RequestMalformed, ProofInvalid
├── SimulationError    CRD6xx  nothing is simulated; nothing of the fleet is touched in any case
│   ├── SimulationUnreadable, SimulationMalformed, SimulationInconsistent, SimulationStopped
└── DashboardError     CRD8xx  the dashboard does not start, or a page of it says why it has nothing to show
    ├── UserTaken, UnknownUser, PasswordWeak, DashboardExposed
"""

from typing import ClassVar

from firmware_configs.errors import EdgeError


class CoordinatorError(EdgeError):
    code: ClassVar[str] = "CRD100"


class NotRunning(CoordinatorError):
    code: ClassVar[str] = "CRD101"


class PortTaken(CoordinatorError):
    code: ClassVar[str] = "CRD102"


class ChildFailed(CoordinatorError):
    code: ClassVar[str] = "CRD103"


class UnknownDevice(CoordinatorError):
    code: ClassVar[str] = "CRD104"
    exit_status: ClassVar[int] = 2


class UnknownBundle(CoordinatorError):
    code: ClassVar[str] = "CRD105"
    exit_status: ClassVar[int] = 2


class KeyInvalid(CoordinatorError):
    code: ClassVar[str] = "CRD106"
    exit_status: ClassVar[int] = 2


class DeviceTaken(CoordinatorError):
    code: ClassVar[str] = "CRD107"
    exit_status: ClassVar[int] = 2


class AlreadyRunning(CoordinatorError):
    code: ClassVar[str] = "CRD108"


class AttributionRefused(CoordinatorError):
    code: ClassVar[str] = "CRD109"


class PlotFailed(CoordinatorError):
    code: ClassVar[str] = "CRD110"


class BackupRefused(CoordinatorError):
    code: ClassVar[str] = "CRD111"
    exit_status: ClassVar[int] = 2


class BackupDamaged(CoordinatorError):
    code: ClassVar[str] = "CRD112"


class BackupFailed(CoordinatorError):
    code: ClassVar[str] = "CRD113"


class HomeUnreadable(CoordinatorError):
    code: ClassVar[str] = "CRD114"


class HomeTooNew(HomeUnreadable):
    code: ClassVar[str] = "CRD115"


class CapacityInvalid(CoordinatorError):
    code: ClassVar[str] = "CRD120"
    exit_status: ClassVar[int] = 2


class RoundError(EdgeError):
    code: ClassVar[str] = "CRD200"


class TooFewReports(RoundError):
    code: ClassVar[str] = "CRD201"


class RoundStateInvalid(RoundError):
    code: ClassVar[str] = "CRD202"


class AggregationFailed(RoundError):
    code: ClassVar[str] = "CRD203"


class PrivacyRefused(RoundError):
    code: ClassVar[str] = "CRD204"


class FlowerFailed(RoundError):
    code: ClassVar[str] = "CRD205"


class BudgetInvalid(RoundError):
    code: ClassVar[str] = "CRD206"
    exit_status: ClassVar[int] = 2


class RunUnfinished(RoundError):
    code: ClassVar[str] = "CRD207"


class RunInterrupted(RoundError):
    code: ClassVar[str] = "CRD208"


class UnknownRun(RoundError):
    code: ClassVar[str] = "CRD209"
    exit_status: ClassVar[int] = 2


class CheckpointDamaged(RoundError):
    code: ClassVar[str] = "CRD210"


class RoundFileInvalid(RoundError):
    code: ClassVar[str] = "CRD211"
    exit_status: ClassVar[int] = 2


class RunStopped(RoundError):
    """By Ctrl-C; the exit code is that of a shell."""

    code: ClassVar[str] = "CRD212"
    exit_status: ClassVar[int] = 130


class RunTerminated(RunStopped):
    """By SIGTERM."""

    code: ClassVar[str] = "CRD213"
    exit_status: ClassVar[int] = 143


class StrategyRefused(RoundError):
    code: ClassVar[str] = "CRD230"
    exit_status: ClassVar[int] = 2


class RegistryError(EdgeError):
    code: ClassVar[str] = "CRD300"


class VersionTaken(RegistryError):
    code: ClassVar[str] = "CRD301"


class VersionStale(RegistryError):
    code: ClassVar[str] = "CRD302"


class NameInvalid(RegistryError):
    code: ClassVar[str] = "CRD303"


class RegistryMissing(RegistryError):
    code: ClassVar[str] = "CRD304"


class RegistryThere(RegistryError):
    code: ClassVar[str] = "CRD305"


class SignaturesMissing(RegistryError):
    code: ClassVar[str] = "CRD306"


class RegistryKeyInvalid(RegistryError):
    code: ClassVar[str] = "CRD307"
    exit_status: ClassVar[int] = 2


class ChangePending(RegistryError):
    code: ClassVar[str] = "CRD308"


class AttestationInvalid(RegistryError):
    code: ClassVar[str] = "CRD309"


class RegistryDamaged(RegistryError):
    code: ClassVar[str] = "CRD310"


class UnknownDocument(RegistryError):
    code: ClassVar[str] = "CRD311"
    exit_status: ClassVar[int] = 2


class ExperimentError(EdgeError):
    code: ClassVar[str] = "CRD400"


class UnknownExperiment(ExperimentError):
    code: ClassVar[str] = "CRD401"
    exit_status: ClassVar[int] = 2


class TooFewDevices(ExperimentError):
    code: ClassVar[str] = "CRD402"


class NothingReleased(ExperimentError):
    code: ClassVar[str] = "CRD403"


class NotDeclared(ExperimentError):
    code: ClassVar[str] = "CRD404"
    exit_status: ClassVar[int] = 2


class SimulationError(EdgeError):
    code: ClassVar[str] = "CRD600"


class SimulationUnreadable(SimulationError):
    code: ClassVar[str] = "CRD601"
    exit_status: ClassVar[int] = 2


class SimulationMalformed(SimulationError):
    code: ClassVar[str] = "CRD602"
    exit_status: ClassVar[int] = 2


class SimulationInconsistent(SimulationError):
    code: ClassVar[str] = "CRD603"
    exit_status: ClassVar[int] = 2


class SimulationStopped(SimulationError):
    code: ClassVar[str] = "CRD604"


class FleetError(EdgeError):
    code: ClassVar[str] = "CRD700"
    exit_status: ClassVar[int] = 2


class RevisionConflict(FleetError):
    code: ClassVar[str] = "CRD701"
    exit_status: ClassVar[int] = 1


class SelectionInvalid(FleetError):
    code: ClassVar[str] = "CRD702"


class TagInvalid(FleetError):
    code: ClassVar[str] = "CRD703"


class WindowInvalid(FleetError):
    code: ClassVar[str] = "CRD704"


class BrokerUnfit(FleetError):
    code: ClassVar[str] = "CRD705"


class EnrolmentRefused(FleetError):
    code: ClassVar[str] = "CRD710"
    status: ClassVar[int] = 400
    """Of HTTP."""


class TokenUnknown(EnrolmentRefused):
    code: ClassVar[str] = "CRD712"
    status: ClassVar[int] = 403


class TokenExpired(EnrolmentRefused):
    code: ClassVar[str] = "CRD713"
    status: ClassVar[int] = 403


class TokenUsed(EnrolmentRefused):
    code: ClassVar[str] = "CRD714"
    status: ClassVar[int] = 403


class TooManyAttempts(EnrolmentRefused):
    code: ClassVar[str] = "CRD715"
    status: ClassVar[int] = 429


class RequestMalformed(EnrolmentRefused):
    code: ClassVar[str] = "CRD716"


class ProofInvalid(EnrolmentRefused):
    code: ClassVar[str] = "CRD717"
    status: ClassVar[int] = 403


class RolloutError(EdgeError):
    code: ClassVar[str] = "CRD500"


class PlanUnreadable(RolloutError):
    code: ClassVar[str] = "CRD501"
    exit_status: ClassVar[int] = 2


class PlanMalformed(RolloutError):
    code: ClassVar[str] = "CRD502"
    exit_status: ClassVar[int] = 2


class PlanInconsistent(RolloutError):
    code: ClassVar[str] = "CRD503"
    exit_status: ClassVar[int] = 2


class PlanUnfit(RolloutError):
    code: ClassVar[str] = "CRD504"
    exit_status: ClassVar[int] = 2


class UnknownRollout(RolloutError):
    code: ClassVar[str] = "CRD505"
    exit_status: ClassVar[int] = 2


class RolloutStateInvalid(RolloutError):
    code: ClassVar[str] = "CRD506"


class RolloutTaken(RolloutError):
    code: ClassVar[str] = "CRD507"


class LogDamaged(RolloutError):
    code: ClassVar[str] = "CRD508"


class DashboardError(EdgeError):
    code: ClassVar[str] = "CRD800"


class UserTaken(DashboardError):
    code: ClassVar[str] = "CRD801"
    exit_status: ClassVar[int] = 2


class UnknownUser(DashboardError):
    code: ClassVar[str] = "CRD802"
    exit_status: ClassVar[int] = 2


class PasswordWeak(DashboardError):
    code: ClassVar[str] = "CRD803"
    exit_status: ClassVar[int] = 2


class DashboardExposed(DashboardError):
    code: ClassVar[str] = "CRD804"
    exit_status: ClassVar[int] = 2
