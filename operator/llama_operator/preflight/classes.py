"""Do the classes exist that pods name: without them the API server makes no pod."""

from collections.abc import Iterator

from llama_operator.plan.survey import Survey
from llama_operator.preflight.finding import Finding, failed
from llama_operator.preflight.pod import Pod
from llama_operator.spec.model import Scheduling


def check(pod: Pod, scheduling: Scheduling, survey: Survey) -> Iterator[Finding]:
    """Yield which class of the pod there is not; nothing where it names none, or they may not be read."""
    priority, runtime = pod.spec.get("priorityClassName"), pod.spec.get("runtimeClassName")
    if priority in survey.absent_classes:
        yield failed("Scheduling", "PriorityClassNotFound", no_priority(scheduling, priority))
    if runtime in survey.absent_classes:
        yield failed("Scheduling", "RuntimeClassNotFound", no_runtime(scheduling, runtime))


def no_priority(scheduling: Scheduling, name: str) -> str:
    """Return that there is no such PriorityClass, with the field that names it."""
    by_field = scheduling.priority_class_name == name
    field = "spec.scheduling.priorityClassName" if by_field else "priorityClassName in spec.podTemplate.spec"
    return f"there is no PriorityClass {name}: correct {field} (kubectl get priorityclass lists them), or create it"


def no_runtime(scheduling: Scheduling, name: str) -> str:
    """Return that there is no such RuntimeClass, with the field that names it."""
    by_field = scheduling.runtime_class_name == name
    field = "spec.scheduling.runtimeClassName" if by_field else "runtimeClassName in spec.podTemplate.spec"
    return f"there is no RuntimeClass {name}: correct {field} (kubectl get runtimeclass lists them), or create it"
