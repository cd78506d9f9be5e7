"""Read models: what has been made of the log to answer questions with. One file each, and a line here."""

from typing import Final

from projections.customer_card import CustomerCards
from projections.read_model import ReadModel
from projections.reports import Report
from projections.revenue_reports import RevenueStatisticsReport, RevenueToDateReport
from projections.revenue_statistics import RevenueStatistics

ALL: Final[tuple[ReadModel, ...]] = (CustomerCards(), RevenueStatistics())
"""Every version of every read model that is kept up to date."""
REPORTS: Final[tuple[Report, ...]] = (RevenueStatisticsReport(), RevenueToDateReport())
"""Every report that can be asked for."""
