"""The equations of HML (Deng et al., ECCV 2022, arXiv 2203.06907), independent of any benchmark.

==================  ==========================================================================
``vectors``, ``tree``  word vectors and the predicate tree, eq. 1-2
``losses``             class-balanced loss and Concept Reconstruction, eq. 4-5
``importance``         Fisher information and parameter importance, eq. 6-11
``tracker``            both, gathered step by step while a stage trains
``distribution``       how Omega is spread over the parameters
``reconstruction``     Model Reconstruction, eq. 12
``memory``             the file that one stage hands to the next
==================  ==========================================================================
"""
