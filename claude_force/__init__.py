"""Run Claude agents, skills and workflows from a terminal, a script, CI or cron."""

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .api.choosing import ProgressiveSkillsManager, SemanticSelector
    from .api.hybrid import HybridOrchestrator
    from .api.orchestrator import AgentOrchestrator, AgentResult
    from .api.tracker import PerformanceTracker
    from .api.workflow_dag import WorkflowDAG
    from .client.breaker import CircuitBreaker
    from .errors import ForceError
    from .stores.cache import ResponseCache
    from .stores.memory import AgentMemory

__all__ = [
    "AgentMemory",
    "AgentOrchestrator",
    "AgentResult",
    "CircuitBreaker",
    "ForceError",
    "HybridOrchestrator",
    "PerformanceTracker",
    "ProgressiveSkillsManager",
    "ResponseCache",
    "SemanticSelector",
    "WorkflowDAG",
    "__version__",
]

_HOMES = {
    "AgentMemory": "stores.memory",
    "AgentOrchestrator": "api.orchestrator",
    "AgentResult": "api.orchestrator",
    "CircuitBreaker": "client.breaker",
    "ForceError": "errors",
    "HybridOrchestrator": "api.hybrid",
    "PerformanceTracker": "api.tracker",
    "ProgressiveSkillsManager": "api.choosing",
    "ResponseCache": "stores.cache",
    "SemanticSelector": "api.choosing",
    "WorkflowDAG": "api.workflow_dag",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: `import claude_force` alone loads nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'claude_force' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
