"""The base of steps of a pipeline that learn nothing from data."""

from abc import ABCMeta, abstractmethod

from sklearn.base import BaseEstimator, TransformerMixin

__all__ = ["StatelessTransformer"]


class StatelessTransformer(TransformerMixin, BaseEstimator, metaclass=ABCMeta):
    """Base of transformers of astronomical data, which are no rows of numbers, whose ``fit`` only checks parameters."""

    def __sklearn_tags__(self):
        tags = super().__sklearn_tags__()
        tags.input_tags.two_d_array = False
        tags.requires_fit = False
        return tags

    def fit(self, X=None, y=None):
        """
        Check the parameters; there is nothing to learn.

        Parameters
        ----------
        X, y : object, optional
            Ignored.

        Returns
        -------
        self
        """
        self._prepare()
        return self

    @abstractmethod
    def _prepare(self):
        """What ``transform`` needs of the parameters, or an error that says what is wrong with them."""
