//! Integration tests: the instrument path and the clinical path end to end, through the public interface only.
