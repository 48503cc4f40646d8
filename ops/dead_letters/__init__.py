"""Dead letters: leased, filtered, listed, forecast, redriven, edited, discarded."""
