#include "devices/metrics.h"

#include <gtest/gtest.h>

namespace mayfly {
namespace {

struct ToyMetrics {
  Counter requests;
  Gauge level;
  LatencyHistogram latency;

  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("requests_total", "Requests served.", &ToyMetrics::requests);
    visit("level", "How full it is.", &ToyMetrics::level);
    visit("latency_seconds", "Time to serve one.", &ToyMetrics::latency);
  }
};

struct PlainMetrics {
  Counter requests;

  template <class Visitor>
  static void Visit(Visitor&& visit) {
    visit("requests_total", "Requests served.", &PlainMetrics::requests);
  }
};

TEST(LatencyHistogramTest, ABoundBelongsToItsBucket) {
  LatencyHistogram histogram;
  histogram.Observe(std::chrono::microseconds(5));
  histogram.Observe(std::chrono::nanoseconds(5001));
  histogram.Observe(std::chrono::nanoseconds(0));
  EXPECT_EQ(histogram.bucket(0), 2U);
  EXPECT_EQ(histogram.bucket(1), 1U);
  EXPECT_EQ(histogram.sum_nanoseconds(), 10'001U);
}

TEST(LatencyHistogramTest, WhatIsLongerThanAllBoundsIsCountedLast) {
  LatencyHistogram histogram;
  histogram.Observe(std::chrono::seconds(100));
  EXPECT_EQ(histogram.bucket(LatencyHistogram::kBoundsMicroseconds.size()), 1U);
}

TEST(MetricsRegistryTest, PrometheusTextKeepsTheSeriesOfANameTogether) {
  PlainMetrics first;
  PlainMetrics second;
  first.requests.Add(3);
  second.requests.Add();
  MetricsRegistry registry;
  registry.Add("toy", "toy0", &first);
  registry.Add("toy", "a\"b\\c\nd", &second);
  EXPECT_EQ(registry.Prometheus(),
            "# HELP mayfly_toy_requests_total Requests served.\n"
            "# TYPE mayfly_toy_requests_total counter\n"
            "mayfly_toy_requests_total{device=\"toy0\"} 3\n"
            "mayfly_toy_requests_total{device=\"a\\\"b\\\\c\\nd\"} 1\n");
}

TEST(MetricsRegistryTest, PrometheusTextHasCumulativeBuckets) {
  ToyMetrics toy;
  toy.level.Set(7);
  toy.latency.Observe(std::chrono::microseconds(4));
  toy.latency.Observe(std::chrono::microseconds(40));
  MetricsRegistry registry;
  registry.Add("toy", "toy0", &toy);
  const std::string text = registry.Prometheus();
  EXPECT_NE(text.find("# TYPE mayfly_toy_level gauge\nmayfly_toy_level{device=\"toy0\"} 7\n"),
            std::string::npos)
      << text;
  EXPECT_NE(text.find("_bucket{device=\"toy0\",le=\"0.000005\"} 1\n"), std::string::npos) << text;
  EXPECT_NE(text.find("_bucket{device=\"toy0\",le=\"0.00005\"} 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("_bucket{device=\"toy0\",le=\"1\"} 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("_bucket{device=\"toy0\",le=\"+Inf\"} 2\n"), std::string::npos) << text;
  EXPECT_NE(text.find("_count{device=\"toy0\"} 2\n"), std::string::npos) << text;
}

TEST(MetricsRegistryTest, WithoutMetricsTheTextsAreEmpty) {
  const MetricsRegistry registry;
  EXPECT_EQ(registry.Prometheus(), "");
  EXPECT_EQ(registry.Json(), "{}");
}

TEST(MetricsRegistryTest, JsonGroupsByComponentAndDevice) {
  PlainMetrics first;
  PlainMetrics other;
  PlainMetrics second;
  second.requests.Add(2);
  MetricsRegistry registry;
  registry.Add("toy", "toy0", &first);
  registry.Add("art", "toy0", &other);
  registry.Add("toy", "toy1", &second);
  EXPECT_EQ(registry.Json(),
            R"({"art":{"toy0":{"requests_total":0}},"toy":{"toy0":{"requests_total":0},)"
            R"("toy1":{"requests_total":2}}})");
}

TEST(MetricsRegistryTest, JsonOfAHistogramHasCountSumAndBuckets) {
  ToyMetrics toy;
  toy.latency.Observe(std::chrono::milliseconds(2));
  MetricsRegistry registry;
  registry.Add("toy", "toy0", &toy);
  const std::string json = registry.Json();
  EXPECT_NE(json.find(R"("latency_seconds":{"buckets":{"0.000005":0,)"), std::string::npos) << json;
  EXPECT_NE(json.find(R"("+Inf":1},"sum_seconds":0.002,"count":1})"), std::string::npos) << json;
  EXPECT_NE(json.find(R"("0.001":0,"0.005":1,)"), std::string::npos) << json;
}

}  // namespace
}  // namespace mayfly
