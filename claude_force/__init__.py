"""Run Claude agents, skills and workflows from a terminal, a script, CI or cron."""

__version__ = "0.1.0"

TYPE_CHECKING = False
if TYPE_CHECKING:
    from .choosing import ProgressiveSkillsManager, SemanticSelector
    from .client.breaker import CircuitBreaker
    from .errors import ForceError
    from .hybrid import HybridOrchestrator
    from .orchestrator import AgentOrchestrator, AgentResult
    from .stores.cache import ResponseCache
    from .stores.memory import AgentMemory
    from .tracker import PerformanceTracker
    from .workflow_dag import WorkflowDAG

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
    "AgentOrchestrator": "orchestrator",
    "AgentResult": "orchestrator",
    "CircuitBreaker": "client.breaker",
    "ForceError": "errors",
    "HybridOrchestrator": "hybrid",
    "PerformanceTracker": "tracker",
    "ProgressiveSkillsManager": "choosing",
    "ResponseCache": "stores.cache",
    "SemanticSelector": "choosing",
    "WorkflowDAG": "workflow_dag",
}


def __getattr__(name: str) -> object:
    """Import a public name when it is first used: `import claude_force` alone loads nothing."""
    if name not in _HOMES:
        raise AttributeError(f"module 'claude_force' has no attribute '{name}'")
    from importlib import import_module

    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
