"""MLflow's door into smoothscan: `mlflow.models.evaluate(..., evaluators="smoothscan", evaluator_config={...})`."""

from mlflow_smoothscan.evaluator import SmoothscanEvaluator

__all__ = ["SmoothscanEvaluator"]
