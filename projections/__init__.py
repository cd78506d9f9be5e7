"""Read models: what has been made of the log to answer questions with. One file each, and a line here."""

from typing import Final

from projections.customer_card_tables import CustomerCards
from projections.read_model import ReadModel
from projections.reports import Report
from projections.revenue_reports import RevenueStatisticsReport, RevenueToDateReport
from projections.revenue_statistics import RevenueStatistics
from projections.support_backlog import SupportBacklogReport
from projections.support_comparison import SupportComparisonReport
from projections.support_outcomes import SupportOutcomesReport, SupportSatisfactionReport
from projections.support_reports import SupportResponseTimesReport
from projections.support_response_times import SupportResponseTimes
from projections.waiting_now import WaitingNowReport

ALL: Final[tuple[ReadModel, ...]] = (CustomerCards(), RevenueStatistics(), SupportResponseTimes())
"""Every version of every read model that is kept up to date."""
REPORTS: Final[tuple[Report, ...]] = (
    RevenueStatisticsReport(),
    RevenueToDateReport(),
    SupportBacklogReport(),
    SupportComparisonReport(),
    SupportOutcomesReport(),
    SupportResponseTimesReport(),
    SupportSatisfactionReport(),
    WaitingNowReport(),
)
"""Every report that can be asked for."""
