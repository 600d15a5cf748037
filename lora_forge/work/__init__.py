"""What the page and the command line let happen: a project filled, a run planned and run. No page, no command line."""

from __future__ import annotations

from lora_forge.work.gathering import gather
from lora_forge.work.planning import RunRequest, plan
from lora_forge.work.projects import ProjectFacts, project_dir, project_facts, projects
from lora_forge.work.running import run

__all__ = ["ProjectFacts", "RunRequest", "gather", "plan", "project_dir", "project_facts", "projects", "run"]
