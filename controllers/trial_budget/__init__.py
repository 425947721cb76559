"""TrialBudget: recipes of an index are tried until the budget is spent, and the best serves. `plan` decides (pure), `controller` acts."""
