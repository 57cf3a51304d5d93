"""The laboratory: hundreds of simulated devices under the ledger's own rules, attacks, rival frameworks, figures. No network."""
