"""A shop's page and a kiosk's page, with a real broker and a real agent behind them: `python -m demo.pages`."""
